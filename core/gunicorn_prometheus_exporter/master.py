"""What the gunicorn master does for the metrics: storage, exporter process, and its own counts."""

from __future__ import annotations

import atexit
import json
import os
import platform
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import gunicorn

from gunicorn_prometheus_exporter import __version__, bootstrap, values
from gunicorn_prometheus_exporter import metrics as m
from gunicorn_prometheus_exporter.backlog import backlog_of
from gunicorn_prometheus_exporter.errors import PrometheusExporterError, SettingsError
from gunicorn_prometheus_exporter.exits import Exit
from gunicorn_prometheus_exporter.exporter.supervisor import ExporterSupervisor
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.header import Field, Header, State
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.place import DirectoryPlace, MemoryPlace, Place
from gunicorn_prometheus_exporter.storage.slots import Slot

HANDOVER = "GUNICORN_PROMETHEUS_HANDOVER"
"""The variable in which a master that is replaced (USR2) tells the next one what it inherits."""

SIGNALS = ("hup", "quit", "int", "term", "ttin", "ttou", "usr1", "usr2", "winch", "chld")
NO_SLOT = "none"
"""The worker id of a worker that ended before it had a slot."""


class Master:
    """The metrics side of one running arbiter."""

    def __init__(self, arbiter: Any) -> None:
        """Open the storage; raises PrometheusExporterError if settings or storage are unusable."""
        self._arbiter = arbiter
        self._pid = os.getpid()
        self.settings = Settings.from_environ(os.environ)
        inherited = json.loads(os.environ.pop(HANDOVER, "{}"))
        self.place = _open_place(self.settings, inherited)
        self.place.give_to(arbiter.cfg.uid, arbiter.cfg.gid)
        self._exits: deque[tuple[str | None, Exit]] = deque()
        self._signals: deque[str] = deque()
        self._instruments = bootstrap.process_instruments()
        self._attach()
        self._supervisor = self._start_exporter(inherited.get("listener_fd"))
        self._warn_of_early_metrics()
        atexit.register(self.close)

    # Storage

    def _attach(self) -> None:
        store, volume = self._instruments.store, self.place.volume
        try:
            store.attach(volume, "master", self.settings.max_series).enter(State.RUNNING)
        except OSError as error:
            self._arbiter.log.error("The master's own metrics are not kept: %s", error)
        count = self._instruments.counter
        for name in SIGNALS:
            count(m.MASTER_SIGNALS, {"reason": name})
        count(m.RELOADS, {})
        self._dropped = count(m.SERIES_DROPPED, {})
        now = time.time()
        self._instruments.gauge(m.MASTER_START, {}, "livemax").set(now)
        self._last_reload = self._instruments.gauge(m.LAST_RELOAD, {}, "livemax")
        self._last_reload.set(now)
        self._target = self._instruments.gauge(m.WORKERS_TARGET, {})
        self._describe()

    def _describe(self) -> None:
        labels = {
            "version": gunicorn.__version__,
            "worker_class": str(self._arbiter.cfg.worker_class_str),
            "python_version": platform.python_version(),
            "exporter_version": __version__,
        }
        self._info = self._instruments.gauge(m.INFO, labels, "livemax")
        self._info.set(1.0)

    def attach_worker(self, age: int) -> Slot:
        """Claim a slot for this process, a forked worker; raises OSError or StorageError."""
        store, volume = self._instruments.store, self.place.volume
        slot = store.attach(volume, "worker", self.settings.max_series)
        slot.header[Field.AGE] = age
        self._instruments.limit.learn(store)
        store.follow_forks(volume, self.settings.max_series)
        return slot

    def close_in_child(self) -> None:
        """Let go of what only the master uses, in a forked worker."""
        self._supervisor.close_in_child()
        self.place.close_in_child()

    # The exporter process

    def _start_exporter(self, listener_fd: int | None) -> ExporterSupervisor:
        cfg = self._arbiter.cfg
        supervisor = ExporterSupervisor(
            self._arbiter.log, self.settings, self.place.spec(), cfg.uid, cfg.gid,
            title=self._arbiter.proc_name,
        )  # fmt: skip
        if listener_fd is None:
            supervisor.bind()
        else:
            supervisor.adopt_listener(listener_fd)
        supervisor.tick(serving=not self._arbiter.master_pid)
        return supervisor

    def _warn_of_early_metrics(self) -> None:
        early = values.metrics_made_too_early()
        if early:
            self._arbiter.log.warning(
                "These metrics were made before the worker class was loaded and are not shared "
                "between workers: %s. Do not import the application in the gunicorn configuration.",
                ", ".join(early),
            )

    # The life of the arbiter

    def tick(self) -> None:
        """Publish what was noted and look after the exporter: each turn of the main loop."""
        self._publish()
        self._target.set(self._arbiter.num_workers)
        for listener in self._arbiter.LISTENERS:
            backlog = backlog_of(listener.sock)
            if backlog is not None:
                labels = {"listener": str(listener)}
                self._instruments.gauge(m.LISTENER_BACKLOG, labels, "livemax").set(backlog)
        self._supervisor.tick(serving=not self._arbiter.master_pid)

    def count_signal(self, name: str) -> None:
        """Note that the master handles the signal `name`; fit for a signal handler."""
        self._signals.append(name)

    def count_exit(self, slot: str | None, end: Exit) -> None:
        """Note why a worker ended; fit for a signal handler."""
        self._exits.append((slot, end))

    def reap_exporter(self) -> None:
        """Collect the exporter process before the arbiter meets it; fit for a signal handler."""
        self._supervisor.reap()

    def show_state(self, slot: str | None, state: State) -> None:
        """Show `state` for a worker that may not get to say it itself."""
        if slot is None:
            return
        region = self.place.volume.open_header(slot, create=False)
        header = Header(region)
        if header[Field.STATE] < state:
            header[Field.STATE_SINCE] = time.time()
            header[Field.STATE] = state
        header.close()
        os.close(region.fd)

    def reloaded(self) -> None:
        """Follow a reload (HUP) of the configuration."""
        try:
            settings = Settings.from_environ(os.environ)
        except SettingsError as error:
            self._arbiter.log.error("The former settings stay in force: %s", error)
            settings = self.settings
        self.settings = settings
        self.place.give_to(self._arbiter.cfg.uid, self._arbiter.cfg.gid)
        self._info.set(0.0)
        self._describe()
        self._instruments.counter(m.RELOADS, {}).add(1.0)
        self._last_reload.set(time.time())
        self._supervisor.reconfigure(settings)

    def prepare_handover(self, environ: dict[str, str]) -> None:
        """Let the next master, which starts with `environ`, inherit storage and listener."""
        for fd in self.place.inheritable_fds():
            os.set_inheritable(fd, True)
        listener = self._supervisor.prepare_handover()
        environ[HANDOVER] = json.dumps({**self.place.spec(), "listener_fd": listener})

    def cancel_handover(self, environ: dict[str, str]) -> None:
        """Take it back: the next master has started, or failed to."""
        environ.pop(HANDOVER, None)
        self._supervisor.cancel_handover()
        for fd in self.place.inheritable_fds():
            os.set_inheritable(fd, False)

    def close(self) -> None:
        """Stop the exporter and leave the storage, once, and in the master only."""
        if self._pid == os.getpid():
            self._pid = 0
            self._publish()
            self._supervisor.stop()
            self.place.close()

    def _publish(self) -> None:
        while self._signals:
            labels = {"reason": self._signals.popleft()}
            self._instruments.counter(m.MASTER_SIGNALS, labels).add(1.0)
        while self._exits:
            self._publish_exit(*self._exits.popleft())
        dropped = self._instruments.store.dropped
        if dropped > self._dropped.get():
            self._dropped.set(dropped)

    def _publish_exit(self, slot: str | None, end: Exit) -> None:
        labels = {
            "worker_id": slot or NO_SLOT,
            "reason": end.reason,
            "restart_type": end.restart_type,
        }
        count = self._instruments.counter
        count(m.MASTER_WORKER_EXITS, labels).add(1.0)
        count(m.WORKER_RESTART_COUNT, labels).add(1.0)
        del labels["restart_type"]
        count(m.WORKER_RESTARTS, labels).add(1.0)


def _open_place(settings: Settings, inherited: Mapping[str, Any]) -> Place:
    if settings.redis:
        fd = inherited.get("memory_fd")
        return MemoryPlace(None if fd is None else MemoryVolume(fd))
    if "directory" in inherited and inherited["is_auto"]:
        return DirectoryPlace(inherited["directory"], is_auto=True)
    if settings.multiproc_dir:
        return DirectoryPlace.configured(settings.multiproc_dir)
    return DirectoryPlace.temporary()


def open_master(arbiter: Any) -> Master:
    """Return the metrics side of `arbiter`, which does not start if that is impossible."""
    try:
        return Master(arbiter)
    except PrometheusExporterError as error:
        arbiter.halt(reason=str(error), exit_status=1)
        raise
