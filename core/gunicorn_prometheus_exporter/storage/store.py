"""The cells of this process: every sample it writes, on its own heap or in the slot that it owns.

Writing is one statement without a call, `doubles[index] += amount`, which CPython does not
interrupt between reading and storing: neither another thread nor a signal handler loses an update,
and there is no lock that a fork, a signal handler or the garbage collector could find taken.
"""

from __future__ import annotations

import _thread
import os
import sys
from array import array
from collections import deque
from collections.abc import Sequence

from gunicorn_prometheus_exporter.errors import StorageError
from gunicorn_prometheus_exporter.storage.archive import retire_gauges
from gunicorn_prometheus_exporter.storage.arena import Arena, At, NoSpaceError
from gunicorn_prometheus_exporter.storage.contract import ArenaName, Volume
from gunicorn_prometheus_exporter.storage.slots import Slot, claim

HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether a statement without a call is atomic: not so on free-threaded builds of Python."""

Key = tuple[str, bytes]
"""The kind of a metric and the key of one of its samples."""


def _on_heap() -> At:
    return memoryview(array("d", (0.0, 0.0))).cast("B").cast("d"), 0


class Cell:
    """A handle on one sample. `at` is replaced as a whole when the sample moves.

    The timestamp, for the gauges that have one, is the double after the value.
    """

    __slots__ = ("at",)

    def __init__(self) -> None:
        """Begin with 0 on this process's own heap."""
        self.at = _on_heap()

    def add(self, amount: float) -> None:
        """Add `amount` to the value."""
        doubles, index = self.at
        doubles[index] += amount

    def set(self, value: float, timestamp: float = 0.0) -> None:
        """Replace the value and its timestamp."""
        doubles, index = self.at
        doubles[index] = value
        doubles[index + 1] = timestamp

    def get(self) -> float:
        """Return the value."""
        doubles, index = self.at
        return doubles[index]


class _LockedCell(Cell):
    """A cell for interpreters without a global lock, where no statement is atomic."""

    __slots__ = ()
    _lock = _thread.allocate_lock()

    def add(self, amount: float) -> None:
        with self._lock:
            super().add(amount)


_new_cell = Cell if HAS_GIL else _LockedCell


class Store:
    """All cells of this process, and the slot they are written to.

    Until `attach()` cells live on the heap; then they move, with what they hold, to shared memory.
    In a forked child `detach()` gives each cell a fresh 0 of its own, so that nothing is counted
    twice, and `attach()` takes a slot of the child's own.
    """

    def __init__(self) -> None:
        """Start on the heap, with nothing dropped."""
        self._cells: dict[Key, Cell] = {}
        self._arenas: dict[str, Arena] = {}
        self._pending: deque[list[tuple[Key, Cell]]] = deque()
        self._binding = _thread.allocate_lock()
        self.volume: Volume | None = None
        self.slot: Slot | None = None
        self.dropped = 0
        """How many series found no space; they live on the heap, unseen."""
        self._children: tuple[Volume, int] | None = None

    def cell(self, kind: str, key: bytes) -> Cell:
        """Return the cell of one sample, the same for the same key."""
        return self._cells.get((kind, key)) or self.cells(kind, [key])[0]

    def cells(self, kind: str, keys: Sequence[bytes]) -> list[Cell]:
        """Return the cells of samples that belong together; new ones appear to readers at once.

        Never waits: while another thread (or the code that a signal handler interrupted) is binding
        cells, new ones start on the heap, and that thread moves them.
        """
        batch, new = [], []
        for key in keys:
            fresh = _new_cell()
            cell = self._cells.setdefault((kind, key), fresh)
            batch.append(cell)
            if cell is fresh:
                new.append(((kind, key), cell))
        if new and self.slot is not None:
            self._pending.append(new)
            self._bind_pending()
        return batch

    def attach(self, volume: Volume, role: str, max_series: int) -> Slot:
        """Claim a slot for this process and move all its cells there.

        Raises OSError or StorageError if no slot can be had; the cells then stay where they are.
        """
        slot = claim(volume, role)
        if slot.is_used_again:
            retire_gauges(volume, slot.name, max_series)
        self.volume, self.slot = volume, slot
        by_kind: dict[str, list[tuple[Key, Cell]]] = {}
        for key, cell in list(self._cells.items()):
            by_kind.setdefault(key[0], []).append((key, cell))
        self._pending.extend(by_kind.values())
        self._bind_pending()
        return slot

    def detach(self) -> None:
        """Let go of the slot, in a forked child: it is the parent's. All cells start from 0."""
        if self.slot is not None:
            self.slot.release()
        for arena in self._arenas.values():
            arena.close()
        self._arenas = {}
        self.slot = None
        self._pending.clear()
        self._binding = _thread.allocate_lock()
        for cell in self._cells.values():
            cell.at = _on_heap()

    def follow_forks(self, volume: Volume, max_series: int) -> None:
        """Give each child that this process forks from now on a slot of its own at once."""
        self._children = (volume, max_series)

    def after_fork(self) -> None:
        """Make this store the forked child's own."""
        self.detach()
        if self._children is not None:
            try:
                self.attach(self._children[0], "child", self._children[1])
            except (OSError, StorageError):
                self.dropped += len(self._cells)

    def keys(self, kind: str) -> list[bytes]:
        """Return the keys of this kind that the slot holds, also from its former owners."""
        if self.volume is None or self.slot is None:
            return []
        try:
            region = self.volume.open_arena(ArenaName(kind, self.slot.name))
        except FileNotFoundError:
            return []
        os.close(region.fd)
        try:
            return self._arena(kind).keys()
        except NoSpaceError:
            return []

    def _bind_pending(self) -> None:
        while self._pending and self._binding.acquire(False):
            try:
                while self._pending:
                    self._bind(self._pending.popleft())
            finally:
                self._binding.release()

    def _bind(self, batch: list[tuple[Key, Cell]]) -> None:
        try:
            places = self._places(batch[0][0][0], [key for (_, key), _ in batch])
        except NoSpaceError:
            self.dropped += len(batch)
            return
        for (_, cell), at in zip(batch, places, strict=True):
            _move(cell, at)

    def _places(self, kind: str, keys: list[bytes]) -> list[At]:
        arena = self._arena(kind)
        missing = [key for key in keys if arena.find(key) is None]
        if missing:
            arena.append(missing)
        return [at for key in keys if (at := arena.find(key)) is not None]

    def _arena(self, kind: str) -> Arena:
        arena = self._arenas.get(kind)
        if arena is None:
            assert self.volume is not None
            assert self.slot is not None
            arena = self._arenas[kind] = Arena(self.volume, ArenaName(kind, self.slot.name))
        return arena


def _move(cell: Cell, at: At) -> None:
    """Bind `cell` to `at`, taking along what it holds."""
    (old, i), (new, j) = cell.at, at
    # No call from here to the end of the addition, so that no other thread writes in between.
    cell.at = at
    new[j] += old[i]
    if old[i + 1]:
        new[j + 1] = old[i + 1]


_store: Store | None = None


def process_store() -> Store:
    """Return the store of this process, which follows it through forks."""
    global _store
    if _store is None:
        _store = store = Store()
        os.register_at_fork(after_in_child=store.after_fork)
    return _store
