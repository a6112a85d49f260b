"""An event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class EventLoopThread:
    """Runs an event loop until `stop()`; belongs to the process that makes it."""

    def __init__(self) -> None:
        """Start the thread. It is a daemon: it does not keep the process alive."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="asgi", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T:
        """Run `coroutine` in the loop and return its result; raise TimeoutError after `timeout`."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def stop(self, timeout: float) -> None:
        """End the loop and, within `timeout` seconds, its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self.loop.close()
