"""The metrics of the gunicorn master itself: what it handled, and what became of its workers."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import gunicorn

from gunicorn_prometheus_exporter import __version__
from gunicorn_prometheus_exporter import metrics as m
from gunicorn_prometheus_exporter.backlog import backlog_of
from gunicorn_prometheus_exporter.exits import Exit
from gunicorn_prometheus_exporter.instruments import Instruments
from gunicorn_prometheus_exporter.storage.store import Cell

SIGNALS = ("hup", "quit", "int", "term", "ttin", "ttou", "usr1", "usr2", "winch", "chld")
NO_SLOT = "none"
"""The worker id of a worker that ended before it had a slot."""


class MasterMetrics:
    """Notes what happens, in signal handlers too, and publishes it in the main loop."""

    def __init__(self, instruments: Instruments) -> None:
        """Make the cells that are exposed before anything happens."""
        self._instruments = instruments
        self._signals: deque[str] = deque()
        self._exits: deque[tuple[str | None, Exit]] = deque()
        for name in SIGNALS:
            instruments.counter(m.MASTER_SIGNALS, {"reason": name})
        self._reloads = instruments.counter(m.RELOADS, {})
        self._dropped = instruments.counter(m.SERIES_DROPPED, {})
        self._target = instruments.gauge(m.WORKERS_TARGET, {})
        self._backlogs: dict[str, Cell] = {}
        self._info: Cell | None = None
        now = time.time()
        instruments.gauge(m.MASTER_START, {}, "livemax").set(now)
        self._last_reload = instruments.gauge(m.LAST_RELOAD, {}, "livemax")
        self._last_reload.set(now)

    def note_signal(self, name: str) -> None:
        """Note that the master handles the signal `name`; fit for a signal handler."""
        self._signals.append(name)

    def note_exit(self, slot: str | None, end: Exit) -> None:
        """Note why the worker of `slot` ended; fit for a signal handler."""
        self._exits.append((slot, end))

    def describe(self, worker_class: str) -> None:
        """Show what runs here from now on."""
        labels = {
            "version": gunicorn.__version__,
            "worker_class": worker_class,
            "python_version": platform.python_version(),
            "exporter_version": __version__,
        }
        if self._info is not None:
            self._info.set(0.0)
        self._info = self._instruments.gauge(m.INFO, labels, "livemax")
        self._info.set(1.0)

    def count_reload(self) -> None:
        """Count a reload of the configuration, which happens now."""
        self._reloads.add(1.0)
        self._last_reload.set(time.time())

    def show(self, target: int, listeners: Iterable[Any]) -> None:
        """Show how many workers are wanted, and how many connections wait at each listener."""
        self._target.set(target)
        gauge = self._instruments.gauge
        waiting = {str(listener): backlog_of(listener.sock) for listener in listeners}
        for name, backlog in waiting.items():
            if backlog is not None and name not in self._backlogs:
                self._backlogs[name] = gauge(m.LISTENER_BACKLOG, {"listener": name}, "livemax")
        for name, cell in self._backlogs.items():
            cell.set(waiting.get(name) or 0)

    def publish(self) -> None:
        """Count what was noted since the last time."""
        while self._signals:
            labels = {"reason": self._signals.popleft()}
            self._instruments.counter(m.MASTER_SIGNALS, labels).add(1.0)
        while self._exits:
            self._publish_exit(*self._exits.popleft())
        dropped = self._instruments.store.dropped
        if dropped > self._dropped.get():
            self._dropped.set(dropped)

    def _publish_exit(self, slot: str | None, end: Exit) -> None:
        worker = {"worker_id": slot or NO_SLOT, "reason": end.reason}
        labels = {**worker, "restart_type": end.restart_type}
        count = self._instruments.counter
        count(m.MASTER_WORKER_EXITS, labels).add(1.0)
        count(m.WORKER_RESTART_COUNT, labels).add(1.0)
        count(m.WORKER_RESTARTS, worker).add(1.0)
