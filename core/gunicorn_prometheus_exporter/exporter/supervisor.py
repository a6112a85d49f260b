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

from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.exporter.backoff import Backoff
from gunicorn_prometheus_exporter.exporter.child import ExporterChild, spawn
from gunicorn_prometheus_exporter.exporter.order import Order, VolumeSpec
from gunicorn_prometheus_exporter.exporter.port import Log, MetricsPort
from gunicorn_prometheus_exporter.settings import Settings

STOP_SECONDS = 2.0
"""How long the process may take to leave before it is killed."""

YOUNG_SECONDS = 10.0
"""A process that ends younger than this is started again more and more slowly."""


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
        """Prepare to serve `volume_spec` by a process of the user `uid` and the group `gid`.

        Raises SettingsError for TLS files that cannot be used.
        """
        _check_tls(settings)
        self._log = log
        self._settings = settings
        self._volume = volume_spec
        self._owner = uid, gid
        self._title = title
        self._port = MetricsPort(log, settings)
        self._child: ExporterChild | None = None
        self._spawning = Backoff(first=0.0)
        self._ended = False

    @property
    def port(self) -> int | None:
        """The port that the metrics are served on, None while there is none."""
        listener = self._port.listener
        return listener.getsockname()[1] if listener else None

    @property
    def pid(self) -> int | None:
        """The id of the exporter process, None while there is none."""
        return (self._child.pid or None) if self._child else None

    def bind(self) -> None:
        """Take the port, or say why it cannot be had and leave it to `tick` to try again."""
        if not self._ended:
            self._port.open()

    def adopt_listener(self, fd: int) -> None:
        """Take over the socket `fd` of the former master, or bind where it does not fit."""
        self._port.adopt(fd)

    def tick(self, serving: bool = True) -> None:
        """Repair what is broken. Call it about once a second.

        serving: False while another master serves the metrics: the socket is kept, no process is.
        """
        if self._ended:
            return
        self._port.open()
        if self._child is not None:
            self._look_after(self._child, serving)
        listener = self._port.listener
        if self._child is None:
            # With Redis there is something to do also without a port.
            if serving and (listener or self._settings.redis) and self._spawning.is_due():
                self._spawn(listener)
        elif listener and not self._child.serves and self._child.terminated is None:
            self._child.send(signal.SIGTERM)

    def reconfigure(
        self,
        settings: Settings,
        volume_spec: VolumeSpec | None = None,
        *,
        uid: int | None = None,
        gid: int | None = None,
        serving: bool = True,
    ) -> None:
        """Serve by other settings from now on: on another port, or by a new process.

        With TLS there always is a new process, because the certificates may be new.
        """
        try:
            _check_tls(settings)
        except SettingsError as error:
            self._log.error("The metrics are served by the former settings: %s", error)
            return
        before = self._settings, self._volume, self._owner
        self._settings = settings
        self._volume = self._volume if volume_spec is None else volume_spec
        self._owner = (
            self._owner[0] if uid is None else uid,
            self._owner[1] if gid is None else gid,
        )
        self._port.move(settings)
        changed = before != (self._settings, self._volume, self._owner)
        if self._child is not None and (changed or settings.ssl_certfile):
            self._child.send(signal.SIGTERM)
        self.tick(serving)

    def reap(self) -> None:
        """Collect the exit status of the process if it has ended; fit for signal handlers."""
        child = self._child
        if child is not None:
            child.reap()

    def prepare_handover(self) -> int | None:
        """Let the next master inherit the socket; return its descriptor, None if there is none."""
        if self._port.listener is None:
            return None
        self._port.listener.set_inheritable(True)
        return self._port.listener.fileno()

    def cancel_handover(self) -> None:
        """Keep the socket to ourselves again."""
        if self._port.listener is not None:
            self._port.listener.set_inheritable(False)

    def close_in_child(self) -> None:
        """Let go of everything, in a process that was forked from the master."""
        self._ended = True
        self._port.close()
        if self._child is not None:
            self._child.forget()
            self._child = None

    def stop(self) -> None:
        """End the process and give up the port; takes some seconds at the very most."""
        self._ended = True
        self._port.close()
        child, self._child = self._child, None
        if child is None:
            return
        child.send(signal.SIGTERM)
        if not _wait_until_gone(child, STOP_SECONDS):
            child.send(signal.SIGKILL)
            _wait_until_gone(child, 1.0)
        child.forget()

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

    def _spawn(self, listener: socket.socket | None) -> None:
        try:
            self._child = spawn(self._order(listener))
        except OSError as error:
            delay = self._spawning.postpone()
            self._log.warning(
                "The Prometheus metrics process cannot be started (%s); trying again in %.0f s",
                error,
                delay,
            )

    def _order(self, listener: socket.socket | None) -> Order:
        memory_fd = self._volume.get("memory_fd")
        listener_fd = listener.fileno() if listener else None
        uid, gid = self._owner
        return {
            "sys_path": _import_path(),
            "listener_fd": listener_fd,
            "fds": [fd for fd in (listener_fd, memory_fd) if isinstance(fd, int)],
            "parent": os.getpid(),
            "uid": uid,
            "gid": gid,
            "settings": asdict(self._settings),
            "volume": dict(self._volume),
            "title": self._title,
        }


def _check_tls(settings: Settings) -> None:
    if settings.ssl_certfile:
        from gunicorn_prometheus_exporter.exporter.tls import server_context

        server_context(settings)


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
