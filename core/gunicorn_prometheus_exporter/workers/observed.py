"""What makes a gunicorn worker observed, whatever its kind: storage, life cycle, recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn_prometheus_exporter import bootstrap
from gunicorn_prometheus_exporter.arbiter import adopt, adopt_before_fork
from gunicorn_prometheus_exporter.errors import StorageError
from gunicorn_prometheus_exporter.exits import Watch, Word
from gunicorn_prometheus_exporter.recorder import Recorder, serve_with
from gunicorn_prometheus_exporter.storage.header import State
from gunicorn_prometheus_exporter.workers.page import WorkerPage

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker as _Worker

    from gunicorn_prometheus_exporter.master import Master
else:
    _Worker = object


class ObservedWorker(_Worker):
    """A mixin to put before a gunicorn worker class; subclasses say how to `observe()` requests."""

    prometheus: Master | None = None
    """The master's side; None if it could not be set up, and then nothing is exposed."""

    @classmethod
    def setup(cls) -> None:
        """Prepare the master, before the application is loaded."""
        bootstrap.install()
        _call_if_defined(super(), "setup")

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Have the arbiter handed over when it is ready to fork."""
        _call_if_defined(super(), "check_config", cfg, log)
        # After the user's hook, which may choose the storage: see hooks.redis_when_ready().
        bootstrap.chain(cfg, "when_ready", adopt, last=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Be made by the master, before the fork."""
        super().__init__(*args, **kwargs)
        self.page = WorkerPage()
        self.watch = Watch()
        bootstrap.chain(self.cfg, "pre_fork", adopt_before_fork)

    def init_process(self) -> None:
        """Run the worker, in the forked process."""
        try:
            super().init_process()
        finally:
            self.page.requests = max(self.page.requests, self.nr)
            if self._was_reloaded():
                self.page.say(Word.RELOAD)
            self.enter(State.STOPPED)

    def _was_reloaded(self) -> bool:
        """Return whether changed code ended this worker, if no signal did.

        gunicorn's reloader stops it from a thread, and may not get to call a hook in time.
        """
        return bool(self.cfg.reload and not self.alive) and self.page.requests < self.max_requests

    def load_wsgi(self) -> None:
        """Claim a slot, load the application, and begin to observe its requests."""
        self.recorder = self._make_recorder()
        serve_with(self.recorder)
        super().load_wsgi()
        self.observe()
        self.enter(State.RUNNING)

    def observe(self) -> None:
        """Arrange for each request to be recorded; the application is loaded."""
        raise NotImplementedError

    def enter(self, state: State) -> None:
        """Show `state` as the state of this worker."""
        slot = bootstrap.process_instruments().store.slot
        if slot is not None and (slot.state < state or state is State.STOPPED):
            slot.enter(state)

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """Stop gracefully (SIGTERM)."""
        self.leave(Word.SIGTERM, State.QUITTING)
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: Any, frame: Any) -> None:
        """Stop quickly (SIGQUIT, SIGINT)."""
        self.leave(Word.SIGQUIT, State.QUITTING)
        super().handle_quit(sig, frame)

    def handle_abort(self, sig: Any, frame: Any) -> None:
        """Stop at once: the master waited for this worker too long (SIGABRT)."""
        self.enter(State.ABORTING)
        super().handle_abort(sig, frame)

    def leave(self, word: Word, state: State) -> None:
        """Say to the master, and show, that this worker is about to end."""
        self.page.say(word)
        self.enter(state)

    def _make_recorder(self) -> Recorder:
        instruments = bootstrap.process_instruments()
        master = self.prometheus
        if master is None:
            return Recorder(instruments, bootstrap.lenient_settings(), "none")
        try:
            slot = master.attach_worker(self.age)
        except (OSError, StorageError) as error:
            self.log.error("This worker serves without metrics: %s", error)
            return Recorder(instruments, master.settings, "none")
        self.page.slot = slot.name
        return Recorder(instruments, master.settings, slot.name)


def _call_if_defined(parent: Any, name: str, *args: Any) -> None:
    method = getattr(parent, name, None)
    if method is not None:
        method(*args)
