"""When to try again what has failed."""

from __future__ import annotations

import time

MAX_DELAY = 30.0


class Backoff:
    """The time of the next try: after the first delay, then 1, 2, 4 … 30 seconds."""

    def __init__(self, first: float) -> None:
        """Be due at once, and wait `first` seconds after the first failure."""
        self._first = first
        self._delay = first
        self._next = 0.0

    def is_due(self) -> bool:
        """Return whether it is time to try."""
        return time.monotonic() >= self._next

    def postpone(self) -> float:
        """Put the next try off after a failure; return by how many seconds."""
        delay = self._delay
        self._next = time.monotonic() + delay
        self._delay = min(MAX_DELAY, max(1.0, delay * 2))
        return delay

    def reset(self) -> None:
        """Forget the failures so far."""
        self._delay = self._first
        self._next = 0.0
