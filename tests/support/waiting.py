"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T], timeout: float = 20.0, message: str = "", *, interval: float = 0.02
) -> T:
    """Return the first true value of `predicate`; raise AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            waited_for = message or getattr(predicate, "__name__", "a condition")
            raise AssertionError(f"waited {timeout:g} s in vain for {waited_for}; last: {value!r}")
        time.sleep(interval)
