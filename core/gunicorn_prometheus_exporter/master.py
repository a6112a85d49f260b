"""What the gunicorn master does for the metrics: storage, exporter process, and its own counts."""

from __future__ import annotations

import atexit
import json
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from gunicorn_prometheus_exporter import bootstrap, values
from gunicorn_prometheus_exporter.errors import PrometheusExporterError, SettingsError, StorageError
from gunicorn_prometheus_exporter.exits import Exit, peek
from gunicorn_prometheus_exporter.exporter.supervisor import ExporterSupervisor
from gunicorn_prometheus_exporter.master_metrics import MasterMetrics
from gunicorn_prometheus_exporter.parent import ask_for_signal
from gunicorn_prometheus_exporter.redis.client import require_redis
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.header import Field, Header, State
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.place import DirectoryPlace, MemoryPlace, Place
from gunicorn_prometheus_exporter.storage.slots import Slot

HANDOVER = "GUNICORN_PROMETHEUS_HANDOVER"
"""The variable in which a master that is replaced (USR2) tells the next one what it inherits."""


class Master:
    """The metrics side of one running arbiter."""

    def __init__(self, arbiter: Any) -> None:
        """Open the storage; raises PrometheusExporterError if settings or storage are unusable."""
        inherited = json.loads(os.environ.pop(HANDOVER, "{}"))
        self._arbiter = arbiter
        self._pid = os.getpid()
        self._handing_over = False
        self._reported = False
        self._ended: deque[tuple[str | None, int, float]] = deque()
        self.settings = Settings.from_environ(os.environ)
        self.place = _open_place(self.settings, inherited)
        try:
            self._supervisor = self._open(inherited.get("listener_fd"))
        except PrometheusExporterError:
            self.place.close()
            raise
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._close_in_child)

    def _open(self, listener_fd: int | None) -> ExporterSupervisor:
        cfg = self._arbiter.cfg
        supervisor = ExporterSupervisor(
            self._arbiter.log, self.settings, self.place.spec(), cfg.uid, cfg.gid,
            title=self._arbiter.proc_name,
        )  # fmt: skip
        self.place.give_to(cfg.uid, cfg.gid)
        self._attach()
        self._warn_of_early_metrics()
        if listener_fd is None:
            supervisor.bind()
        else:
            supervisor.adopt_listener(listener_fd)
        supervisor.tick(serving=self._is_serving())
        if not self._is_serving():
            # Scrapes wait from the older master's end to our promotion: SIGCHLD ends the sleep.
            ask_for_signal(signal.SIGCHLD)
        return supervisor

    def _attach(self) -> None:
        self._instruments = bootstrap.process_instruments()
        self._instruments.limit.maximum = self.settings.max_series
        store, volume = self._instruments.store, self.place.volume
        try:
            store.attach(volume, "master", self.settings.max_series).enter(State.RUNNING)
        except OSError as error:
            self._arbiter.log.error("The master's own metrics are not kept: %s", error)
        self._metrics = MasterMetrics(self._instruments)
        self._metrics.describe(str(self._arbiter.cfg.worker_class_str))

    def _warn_of_early_metrics(self) -> None:
        early = values.metrics_made_too_early()
        if early:
            self._arbiter.log.warning(
                "These metrics were made before the worker class was loaded and are not shared "
                "between workers: %s. Do not import the application in the gunicorn configuration.",
                ", ".join(early),
            )

    def _is_serving(self) -> bool:
        """Return whether it is this master whose exporter answers: no older one lives (USR2)."""
        return not self._arbiter.master_pid

    # What forked processes do

    def attach_worker(self, age: int) -> Slot:
        """Claim a slot for this process, a forked worker; raises OSError or StorageError."""
        store, volume = self._instruments.store, self.place.volume
        slot = store.attach(volume, "worker", self.settings.max_series)
        slot.header[Field.AGE] = age
        self._instruments.limit.learn(store)
        store.follow_forks(volume, self.settings.max_series)
        return slot

    def _close_in_child(self) -> None:
        """Let go of what the master alone holds, in whatever it forks but the next master."""
        if self._pid and not self._handing_over:
            self._pid = 0
            self._supervisor.close_in_child()
            self.place.close_in_child()

    # The life of the arbiter

    def tick(self) -> None:
        """Publish what was noted and look after the exporter: each turn of the main loop."""
        try:
            while self._ended:
                slot, pid, when = self._ended.popleft()
                self._show(slot, pid, State.STOPPED, when)
            self._metrics.publish()
            self._metrics.show(self._arbiter.num_workers, self._arbiter.LISTENERS)
        except OSError as error:  # would end the main loop, and gunicorn with it
            self._report(error)
        self._supervisor.tick(serving=self._is_serving())

    def _report(self, error: OSError) -> None:
        if not self._reported:
            self._reported = True
            self._arbiter.log.error("The master's own metrics cannot be written: %s", error)

    def count_signal(self, name: str) -> None:
        """Note that the master handles the signal `name`; fit for a signal handler."""
        self._metrics.note_signal(name)

    def count_exit(self, slot: str | None, pid: int, end: Exit) -> None:
        """Note why the worker `pid` ended; fit for a signal handler."""
        self._metrics.note_exit(slot, end)
        self._ended.append((slot, pid, time.time()))

    def reap_exporter(self) -> None:
        """Collect the exporter process before the arbiter meets it; fit for a signal handler."""
        self._supervisor.reap()

    def show_state(self, slot: str | None, pid: int, state: State) -> None:
        """Show `state` for the worker `pid`, which may not get to say it itself."""
        self._show(slot, pid, state, time.time())

    def _show(self, slot: str | None, pid: int, state: State, since: float) -> None:
        if slot is None:
            return
        with suppress(OSError, ValueError), self._header(slot) as header:
            former = header[Field.STATE]
            is_later = state is State.STOPPED or state > former
            # A slot whose owner is gone may be another worker's already.
            if header[Field.PID] == pid and former != State.STOPPED and is_later:
                header[Field.STATE_SINCE] = since
                header[Field.STATE] = state

    @contextmanager
    def _header(self, slot: str) -> Iterator[Header]:
        region = self.place.volume.open_header(slot, create=False)
        try:
            with closing(Header(region)) as header:
                yield header
        finally:
            os.close(region.fd)

    def reloaded(self) -> None:
        """Follow a reload (HUP) of the configuration."""
        cfg = self._arbiter.cfg
        self._metrics.describe(str(cfg.worker_class_str))
        self._metrics.count_reload()
        try:
            settings = Settings.from_environ(os.environ)
            _require_same_storage(self.settings, settings)
            self.place.give_to(cfg.uid, cfg.gid)
        except PrometheusExporterError as error:
            self._arbiter.log.error("The former metrics settings stay in force: %s", error)
            settings = self.settings
        self.settings = settings
        self._supervisor.reconfigure(settings, uid=cfg.uid, gid=cfg.gid, serving=self._is_serving())

    def prepare_handover(self, environ: dict[str, str]) -> None:
        """Let the next master, which starts with `environ`, inherit storage and listener."""
        self._handing_over = True
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
        self._handing_over = False

    def close(self) -> None:
        """Stop the exporter and leave the storage, once, and in the master only."""
        if self._pid == os.getpid():
            self._pid = 0
            self._metrics.publish()
            self._supervisor.stop()
            self.place.close(handed_over=_lives(self._arbiter.reexec_pid))


def _lives(child: int) -> bool:
    """Return whether the process `child` (0 for none) runs: gunicorn may not know that it ended."""
    if not child or peek(child) is not None:
        return False
    with suppress(ProcessLookupError):
        os.kill(child, 0)
        return True
    return False


def open_master(arbiter: Any) -> Master:
    """Return the metrics side of `arbiter`, which does not start if that is impossible."""
    try:
        return Master(arbiter)
    except PrometheusExporterError as error:
        arbiter.halt(reason=str(error), exit_status=1)
        raise


def _open_place(settings: Settings, inherited: Mapping[str, Any]) -> Place:
    if settings.redis:
        require_redis(settings)
        fd = inherited.get("memory_fd")
        return MemoryPlace(None if fd is None else MemoryVolume(fd))
    former = inherited.get("directory")
    if settings.multiproc_dir:
        return DirectoryPlace.configured(settings.multiproc_dir, former)
    if former and inherited["is_auto"]:
        with suppress(StorageError):  # removed by hand: a new one will do
            return DirectoryPlace(former, is_auto=True, is_inherited=True)
    return DirectoryPlace.temporary()


def _require_same_storage(before: Settings, after: Settings) -> None:
    """Raise SettingsError if a reload asks for storage elsewhere: only a restart can do that."""
    if before.redis != after.redis:
        raise SettingsError("REDIS_ENABLED or REDIS_URL can only be changed by a restart.")
    if before.multiproc_dir != after.multiproc_dir:
        raise SettingsError("PROMETHEUS_MULTIPROC_DIR can only be changed by a restart.")
