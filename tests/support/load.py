"""Clients that send requests as fast as they are answered, and count what they get."""

from __future__ import annotations

import http.client
import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from tests.support import http as plain_http
from tests.support.clients import Address
from tests.support.waiting import wait_until

_BROKEN = (OSError, http.client.HTTPException)


class Load:
    """Some clients in threads, from the beginning of the block to its end.

    Each request has a connection of its own, and is answered (with a status) or broken.
    """

    def __init__(
        self,
        address: Address,
        paths: Sequence[str] = ("/hello",),
        *,
        count: int = 4,
    ) -> None:
        """Prepare `count` clients that ask for `paths` in turn."""
        self._address, self._paths = address, paths
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        self._counting = threading.Lock()
        self.statuses: Counter[str] = Counter()
        self.broken = 0

    @property
    def answered(self) -> int:
        """How many requests were answered so far."""
        return sum(self.statuses.values())

    def wait_answers(self, more: int, timeout: float = 30.0) -> None:
        """Wait until `more` further requests have been answered."""
        goal = self.answered + more
        wait_until(lambda: self.answered >= goal, timeout, f"{more} more answers")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        for path in itertools.cycle(self._paths):
            if self._stopping.is_set():
                return
            try:
                status = plain_http.request(self._address, path).status
            except _BROKEN:
                status = None
            with self._counting:
                if status is None:
                    self.broken += 1
                else:
                    self.statuses[str(status)] += 1
