"""gunicorn's arbiter, observed: what it is asked to do, and why its workers end.

The running arbiter is given the mixin below as the first of its classes. So ordinary methods with
`super()` do the work, a user's own arbiter class keeps its behaviour, and nothing global changes.

gunicorn < 24 runs `reap_workers()` inside its SIGCHLD handler, and that inside itself: what is
called from there only appends to a deque. Methods that fork also unwind in the forked worker.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from gunicorn_prometheus_exporter.errors import PrometheusExporterError
from gunicorn_prometheus_exporter.exits import End, Sent, explain
from gunicorn_prometheus_exporter.master import SIGNALS, Master, open_master
from gunicorn_prometheus_exporter.storage.header import State

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter as _Arbiter
else:
    _Arbiter = object

_CAUSES = {
    "hup": "hup",
    "ttou": "ttou",
    "winch": "winch",
    "term": "shutdown",
    "int": "shutdown",
    "quit": "shutdown",
}
"""What a signal makes the master end workers for."""


def adopt(arbiter: Any) -> None:
    """Observe `arbiter` from now on, if it is not observed yet: the `when_ready` hook.

    Stops gunicorn, with one sentence that says why, if settings or storage cannot be used.
    """
    if not isinstance(arbiter, ObservedArbiter) and arbiter.pid == os.getpid():
        _give_mixin(arbiter, open_master(arbiter))


def adopt_before_fork(arbiter: Any, worker: Any) -> None:
    """Hand the worker the master's side: the `pre_fork` hook.

    If the worker class came with a reload the arbiter is adopted here, and serves without metrics
    rather than stops if that is impossible.
    """
    if not isinstance(arbiter, ObservedArbiter):
        try:
            _give_mixin(arbiter, Master(arbiter))
        except PrometheusExporterError as error:
            arbiter.log.error("The application is served without metrics: %s", error)
            return
    worker.prometheus = arbiter.prometheus


def _give_mixin(arbiter: Any, master: Master) -> None:
    known = type(arbiter)
    arbiter.prometheus = master
    arbiter.cause = None
    arbiter.sent = {}
    arbiter.statuses = {}
    arbiter.living = {}
    arbiter.__class__ = type(
        known.__name__, (ObservedArbiter, known), {"__module__": known.__module__}
    )
    arbiter.use_gunicorn_workers()


class ObservedArbiter(_Arbiter):
    """The mixin."""

    prometheus: Master
    cause: str | None
    """What workers are being ended for at the moment."""
    sent: dict[int, list[Sent]]
    statuses: dict[int, tuple[bool, int]]
    living: dict[int, Any]

    def setup(self, app: Any) -> None:
        """Follow a reload, whose configuration is new from here on."""
        super().setup(app)
        self.use_gunicorn_workers()
        self.prometheus.reloaded()

    def use_gunicorn_workers(self) -> None:
        """Take the number of workers from GUNICORN_WORKERS where the configuration sets none."""
        if self.cfg.workers == 1 and "WEB_CONCURRENCY" not in os.environ:
            self.num_workers = self.prometheus.settings.workers

    def maybe_promote_master(self) -> None:
        """Do what is due each turn of the main loop."""
        super().maybe_promote_master()
        self.prometheus.tick()

    def kill_worker(self, pid: int, sig: int) -> None:
        """Remember which signals a worker was sent, and what for."""
        cause = self.cause or ("ttou" if len(self.WORKERS) > self.num_workers else "shutdown")
        self.sent.setdefault(pid, []).append(Sent(int(sig), cause))
        self._show_end(pid, sig)
        super().kill_worker(pid, sig)

    def _show_end(self, pid: int, sig: int) -> None:
        worker: Any = self.WORKERS.get(pid)
        if hasattr(worker, "page") and sig in (signal.SIGTERM, signal.SIGQUIT, signal.SIGABRT):
            state = State.ABORTING if sig == signal.SIGABRT else State.QUITTING
            self.prometheus.show_state(worker.page.slot, state)

    def reap_workers(self) -> None:
        """Note the wait status of workers before gunicorn collects and forgets it."""
        self.prometheus.reap_exporter()
        self.living.update(self.WORKERS)
        for pid in list(self.living):
            self._peek(pid)
        try:
            super().reap_workers()
        finally:  # also where an exit status halts gunicorn
            for pid in list(self.living):
                if pid not in self.WORKERS or pid in self.statuses:
                    self._note_end(pid)

    def _peek(self, pid: int) -> None:
        try:
            found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is not None:
            self.statuses[pid] = (found.si_code == os.CLD_EXITED, found.si_status)

    def _note_end(self, pid: int) -> None:
        worker = self.living.pop(pid, None)
        sent = self.sent.pop(pid, [])
        status = self.statuses.pop(pid, (None, 0))
        # Popping is atomic: on gunicorn < 24 a nested call of this method may have been faster.
        if worker is None or not hasattr(worker, "page"):
            return
        end = End(
            exited=status[0],
            status=status[1],
            aborted=worker.aborted,
            sent=tuple(sent),
            word=worker.page.word,
            requests=worker.page.requests,
            max_requests=worker.max_requests,
        )
        self.prometheus.count_exit(worker.page.slot, explain(end))

    def reexec(self) -> None:
        """Hand storage and listener to the master that takes over (USR2)."""
        self.prometheus.prepare_handover(self.cfg.env_orig)
        try:
            super().reexec()
        finally:
            self.prometheus.cancel_handover(self.cfg.env_orig)

    def halt(self, *args: Any, **kwargs: Any) -> None:
        """Leave nothing behind."""
        self.cause = "shutdown"
        try:
            super().halt(*args, **kwargs)
        finally:
            self.prometheus.close()


def _observed(name: str) -> Any:
    def handle(self: Any) -> None:
        self.prometheus.count_signal(name)
        self.cause = _CAUSES.get(name)
        getattr(super(ObservedArbiter, self), f"handle_{name}")()
        if self.pid == os.getpid():
            self.cause = None

    handle.__name__ = f"handle_{name}"
    handle.__doc__ = f"Count the signal {name.upper()}, and what it ends workers for."
    return handle


for _name in SIGNALS:
    if _name != "chld":
        setattr(ObservedArbiter, f"handle_{_name}", _observed(_name))
