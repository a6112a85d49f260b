"""gunicorn's arbiter, observed: what it is asked to do, and why its workers end.

The running arbiter is given the mixin below as the first of its classes. So ordinary methods with
`super()` do the work, a user's own arbiter class keeps its behaviour, and nothing global changes.

gunicorn < 24 runs `reap_workers()` inside its SIGCHLD handler, and that inside itself: what is
called from there only appends to a deque. Methods that fork also unwind in the forked worker.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import gunicorn

from gunicorn_prometheus_exporter import bootstrap
from gunicorn_prometheus_exporter.errors import PrometheusExporterError
from gunicorn_prometheus_exporter.exits import ASKING, End, collected, explain, peek
from gunicorn_prometheus_exporter.master import Master, open_master
from gunicorn_prometheus_exporter.master_metrics import SIGNALS
from gunicorn_prometheus_exporter.storage.header import State

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter as _Arbiter
else:
    _Arbiter = object

_REAPS_IN_HANDLER = gunicorn.version_info < (24,)
"""Whether SIGCHLD is handled in the signal handler, by a method bound before we are adopted."""

_CAUSES = {
    "hup": "hup",
    "ttou": "ttou",
    "winch": "winch",
    "term": "shutdown",
    "int": "shutdown",
    "quit": "shutdown",
}
"""What a signal makes the master end workers for."""

_SHOWN = {
    signal.SIGTERM: State.QUITTING,
    signal.SIGQUIT: State.QUITTING,
    signal.SIGABRT: State.ABORTING,
}
"""The state of a worker that was sent a signal."""


def adopt(arbiter: Any) -> None:
    """Observe `arbiter` from now on, if it is not observed yet: the `when_ready` hook.

    Stops gunicorn, with one sentence that says why, if settings or storage cannot be used.
    """
    if not isinstance(arbiter, ObservedArbiter) and arbiter.pid == os.getpid():
        _give_mixin(arbiter, open_master(arbiter))
        arbiter.use_gunicorn_workers()
        arbiter.prometheus.tick()


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
    arbiter.__class__ = type(
        known.__name__, (ObservedArbiter, known), {"__module__": known.__module__}
    )
    bootstrap.chain(arbiter.cfg, "child_exit", _note_status)


def _note_status(arbiter: Any, worker: Any) -> None:
    """Note how a worker ended that still lived when we peeked: the `child_exit` hook."""
    watch = getattr(worker, "watch", None)
    if watch is not None and watch.status is None:
        watch.status = collected(sys._getframe())


class ObservedArbiter(_Arbiter):
    """The mixin."""

    prometheus: Master
    cause: str | None
    """What workers are being ended for at the moment."""

    def setup(self, app: Any) -> None:
        """Follow a reload, whose configuration is new from here on."""
        super().setup(app)
        self.prometheus.reloaded()
        self.use_gunicorn_workers()
        bootstrap.chain(self.cfg, "child_exit", _note_status)

    def use_gunicorn_workers(self) -> None:
        """Take the number of workers from GUNICORN_WORKERS where the configuration sets none."""
        wanted = self.prometheus.settings.workers
        if self.cfg.workers == 1 != wanted and "WEB_CONCURRENCY" not in os.environ:
            # In the configuration too: a reload replaces as many workers as that says.
            self.cfg.set("workers", wanted)
            self.num_workers = wanted

    def maybe_promote_master(self) -> None:
        """Do what is due each turn of the main loop."""
        super().maybe_promote_master()
        self.prometheus.tick()

    def kill_worker(self, pid: int, sig: int) -> None:
        """Remember what a worker was asked to end for, and show that it will."""
        worker: Any = self.WORKERS.get(pid)
        watch = getattr(worker, "watch", None)
        if watch is not None and sig in ASKING:
            watch.asked = watch.asked or self._present_cause()
        if watch is not None and sig in _SHOWN:
            self.prometheus.show_state(worker.page.slot, pid, _SHOWN[signal.Signals(sig)])
        super().kill_worker(pid, sig)
        if worker is not None and pid not in self.WORKERS:  # it was gone, and nobody told us
            self._note_end(worker)

    def _present_cause(self) -> str:
        return self.cause or ("ttou" if len(self.WORKERS) > self.num_workers else "shutdown")

    def reap_workers(self) -> None:
        """Note how workers ended before gunicorn collects and forgets it."""
        if _REAPS_IN_HANDLER:
            self.prometheus.count_signal("chld")
        self.prometheus.reap_exporter()
        workers = dict(self.WORKERS)
        ended = {pid for pid, worker in workers.items() if _has_ended(pid, worker)}
        try:
            super().reap_workers()
        finally:  # also where an exit status halts gunicorn
            for pid, worker in workers.items():
                if pid in ended or pid not in self.WORKERS:
                    self._note_end(worker)
            if not _REAPS_IN_HANDLER:  # a reload or a shutdown may keep the main loop for long
                self.prometheus.tick()

    def _note_end(self, worker: Any) -> None:
        # Popping is atomic: on gunicorn < 24 a nested call of this method may have been faster.
        watch = vars(worker).pop("watch", None)
        if watch is None:
            return
        end = End(
            status=watch.status,
            aborted=worker.aborted,
            asked=watch.asked,
            word=worker.page.word,
            requests=worker.page.requests,
            max_requests=worker.max_requests,
        )
        self.prometheus.count_exit(worker.page.slot, worker.pid, explain(end))

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


def _has_ended(pid: int, worker: Any) -> bool:
    """Return whether `worker` waits to be collected, and note how it ended."""
    watch = getattr(worker, "watch", None)
    if watch is not None:
        watch.status = watch.status or peek(pid)
    return watch is not None and watch.status is not None


def _observed(name: str, handler: str) -> Any:
    def handle(self: Any) -> None:
        self.prometheus.count_signal(name)
        self.cause = _CAUSES.get(name)
        getattr(super(ObservedArbiter, self), handler)()
        if self.pid == os.getpid():
            self.cause = None

    handle.__name__ = handler
    handle.__doc__ = f"Count the signal {name.upper()}, and what it ends workers for."
    return handle


for _name in SIGNALS:
    if _name != "chld":
        setattr(ObservedArbiter, f"handle_{_name}", _observed(_name, f"handle_{_name}"))
if not _REAPS_IN_HANDLER:
    for _handler in ("handle_chld", "handle_cld"):  # gunicorn takes either name, of one signal
        setattr(ObservedArbiter, _handler, _observed("chld", _handler))
