"""Keeps the exporter process running, from inside the gunicorn master.

The master owns the listening socket, so scrapes wait in its backlog while the process is away.
Nothing here blocks the master, but for `stop`, and nothing raises because of the outside world.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from gunicorn_prometheus_exporter.exporter.child import ExporterChild, spawn
from gunicorn_prometheus_exporter.exporter.listener import adopt, describe, listen, metrics_url
from gunicorn_prometheus_exporter.exporter.order import Order, VolumeSpec
from gunicorn_prometheus_exporter.settings import Settings

STOP_SECONDS = 2.0
"""How long the process may take to leave before it is killed."""

YOUNG_SECONDS = 10.0
"""A process that ends younger than this is started again more and more slowly."""

MAX_DELAY = 30.0


class Log(Protocol):
    """Where the supervisor reports: gunicorn's logger."""

    def info(self, msg: str, *args: object) -> object:
        """Log what is going on."""

    def warning(self, msg: str, *args: object) -> object:
        """Log what repairs itself."""

    def error(self, msg: str, *args: object) -> object:
        """Log what somebody has to see to."""


class _Backoff:
    """How long to wait before the next try: `first`, then 1, 2, 4 … 30 seconds."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._delay = first
        self._next = 0.0

    def is_due(self) -> bool:
        return time.monotonic() >= self._next

    def postpone(self) -> float:
        delay = self._delay
        self._next = time.monotonic() + delay
        self._delay = min(MAX_DELAY, max(1.0, delay * 2))
        return delay

    def reset(self) -> None:
        self._delay = self._first
        self._next = 0.0


class ExporterSupervisor:
    """Owns the metrics port and the process that serves it."""

    def __init__(
        self,
        log: Log,
        settings: Settings,
        volume_spec: VolumeSpec,
        uid: int,
        gid: int,
        *,
        title: str = "",
    ) -> None:
        """Prepare to serve `volume_spec` by a process of the user `uid` and the group `gid`."""
        self._log = log
        self._settings = settings
        self._volume = volume_spec
        self._uid, self._gid = uid, gid
        self._title = title
        self._listener: socket.socket | None = None
        self._child: ExporterChild | None = None
        self._binding = _Backoff(first=1.0)
        self._spawning = _Backoff(first=0.0)
        self._bind_failed = False
        self._ended = False

    @property
    def port(self) -> int | None:
        """The port that the metrics are served on, None while there is none."""
        return self._listener.getsockname()[1] if self._listener else None

    @property
    def pid(self) -> int | None:
        """The id of the exporter process, None while there is none."""
        return (self._child.pid or None) if self._child else None

    def bind(self) -> None:
        """Take the port, or say why it cannot be had and leave it to `tick` to try again."""
        if self._listener is not None or self._ended:
            return
        host, port = self._settings.bind_address, self._settings.metrics_port
        try:
            listener = listen(host, port)
        except OSError as error:
            self._binding.postpone()
            self._report_failed_bind(error)
        else:
            self._use(listener)

    def adopt_listener(self, fd: int) -> None:
        """Take over the socket `fd` of the former master, or bind where it does not fit."""
        host, port = self._settings.bind_address, self._settings.metrics_port
        try:
            listener = adopt(fd, host, port)
        except OSError:
            self.bind()
        else:
            self._use(listener)

    def tick(self, serving: bool = True) -> None:
        """Repair what is broken. Call it about once a second.

        serving: False while another master serves the metrics: the socket is kept, no process is.
        """
        if self._ended:
            return
        if self._listener is None and self._binding.is_due():
            self.bind()
        if self._child is not None:
            self._look_after(self._child, serving)
        if serving and self._listener and self._child is None and self._spawning.is_due():
            self._spawn(self._listener)

    def reconfigure(self, settings: Settings, volume_spec: VolumeSpec | None = None) -> None:
        """Serve by other settings from now on: on another port, or by a new process.

        With TLS there always is a new process, because the certificates may be new.
        """
        old, self._settings = self._settings, settings
        moved = _address(old) != _address(settings)
        changed = old != settings or volume_spec not in (None, self._volume)
        self._volume = volume_spec or self._volume
        if moved:
            self._close_listener()
            self._binding.reset()
            self._bind_failed = False
        if self._child is not None and (changed or settings.ssl_certfile):
            self._child.send(signal.SIGTERM)
        self.tick()

    def reap(self) -> None:
        """Collect the exit status of the process if it has ended; fit for signal handlers."""
        child = self._child
        if child is not None:
            child.reap()

    def prepare_handover(self) -> int | None:
        """Let the next master inherit the socket; return its descriptor, None if there is none."""
        if self._listener is None:
            return None
        self._listener.set_inheritable(True)
        return self._listener.fileno()

    def cancel_handover(self) -> None:
        """Keep the socket to ourselves again."""
        if self._listener is not None:
            self._listener.set_inheritable(False)

    def close_in_child(self) -> None:
        """Let go of everything, in a process that was forked from the master."""
        self._ended = True
        self._close_listener()
        if self._child is not None:
            self._child.forget()
            self._child = None

    def stop(self) -> None:
        """End the process and give up the port; takes some seconds at the very most."""
        self._ended = True
        self._close_listener()
        child, self._child = self._child, None
        if child is None:
            return
        child.send(signal.SIGTERM)
        if not _wait_until_gone(child, STOP_SECONDS):
            child.send(signal.SIGKILL)
            _wait_until_gone(child, 1.0)
        child.forget()

    # The port

    def _use(self, listener: socket.socket) -> None:
        self._listener = listener
        self._bind_failed = False
        self._binding.reset()
        tls = bool(self._settings.ssl_certfile)
        url = metrics_url(listener, self._settings.bind_address, tls=tls)
        self._log.info("Prometheus metrics on %s", url)

    def _report_failed_bind(self, error: OSError) -> None:
        if not self._bind_failed:
            self._bind_failed = True
            self._log.error(
                "No Prometheus metrics: cannot listen on %s port %s (%s). The application is "
                "served without them; trying again every 1 to %.0f seconds. "
                "PROMETHEUS_METRICS_PORT sets another port.",
                self._settings.bind_address,
                self._settings.metrics_port,
                describe(error),
                MAX_DELAY,
            )

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    # The process

    def _look_after(self, child: ExporterChild, serving: bool) -> None:
        if child.is_gone():
            self._bury(child)
        elif child.terminated is None:
            if not serving:
                child.send(signal.SIGTERM)
        elif time.monotonic() - child.terminated > STOP_SECONDS:
            child.send(signal.SIGKILL)

    def _bury(self, child: ExporterChild) -> None:
        child.forget()
        self._child = None
        if child.terminated is not None:
            return
        if time.monotonic() - child.started >= YOUNG_SECONDS:
            self._spawning.reset()
        delay = self._spawning.postpone()
        when = f"in {delay:.0f} s" if delay else "now"
        self._log.warning(
            "The Prometheus metrics process ended unexpectedly; it is started again %s", when
        )

    def _spawn(self, listener: socket.socket) -> None:
        try:
            self._child = spawn(self._order(listener))
        except OSError as error:
            delay = self._spawning.postpone()
            self._log.warning(
                "The Prometheus metrics process cannot be started (%s); trying again in %.0f s",
                error,
                delay,
            )

    def _order(self, listener: socket.socket) -> Order:
        memory_fd = self._volume.get("memory_fd")
        return {
            "sys_path": _import_path(),
            "listener_fd": listener.fileno(),
            "fds": [listener.fileno(), *([memory_fd] if isinstance(memory_fd, int) else [])],
            "parent": os.getpid(),
            "uid": self._uid,
            "gid": self._gid,
            "settings": asdict(self._settings),
            "volume": dict(self._volume),
            "title": self._title,
        }


def _address(settings: Settings) -> tuple[str, int]:
    return settings.bind_address, settings.metrics_port


def _import_path() -> list[str]:
    """Return where our package is, and then all places where optional ones may be."""
    ours = Path(__file__).absolute().parents[2]
    return [str(ours), *(path for path in sys.path if path)]


def _wait_until_gone(child: ExporterChild, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not child.is_gone():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True
