"""A page of memory that a worker shares with the master, and that outlives the worker."""

from __future__ import annotations

import mmap

from gunicorn_prometheus_exporter.exits import Word

_SLOT, _REQUESTS, _WORD = range(3)


class WorkerPage:
    """Made by the master before the fork, written by the worker, read when the worker is gone."""

    def __init__(self) -> None:
        """Map a fresh page."""
        self._fields = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        self._fields[_SLOT] = -1

    @property
    def slot(self) -> str | None:
        """The name of the worker's slot, None until it has claimed one."""
        number = int(self._fields[_SLOT])
        return None if number < 0 else str(number)

    @slot.setter
    def slot(self, name: str) -> None:
        self._fields[_SLOT] = int(name)

    @property
    def requests(self) -> int:
        """How many requests the worker has begun, as it counts them against `max_requests`."""
        return int(self._fields[_REQUESTS])

    @requests.setter
    def requests(self, count: int) -> None:
        self._fields[_REQUESTS] = count

    @property
    def word(self) -> Word:
        """What the worker says about its end."""
        return Word(int(self._fields[_WORD]))

    def say(self, word: Word) -> None:
        """Leave a word for the master; the first one counts."""
        if not self._fields[_WORD]:
            self._fields[_WORD] = word
