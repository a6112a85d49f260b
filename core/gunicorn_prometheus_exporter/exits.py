"""Why a worker ended: the reason and the kind of restart, from all that the master knows."""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass


class Word(enum.IntEnum):
    """What a worker says itself about its end, on the page that it shares with the master."""

    NONE = 0
    SIGTERM = 1
    SIGQUIT = 2
    RELOAD = 3


@dataclass(frozen=True, slots=True)
class Sent:
    """A signal that the master sent to a worker, and what for (`hup`, `ttou`, `shutdown`, …)."""

    signal: int
    cause: str


@dataclass(frozen=True, slots=True)
class End:
    """What is known of a worker that ended.

    exited: True if it ended by itself with `status`, False if the signal `status` killed it, None
    if nobody saw its wait status.
    """

    exited: bool | None
    status: int
    aborted: bool
    sent: tuple[Sent, ...]
    word: Word
    requests: int
    max_requests: int


@dataclass(frozen=True, slots=True)
class Exit:
    """Why a worker ended; `restart_type` is `graceful`, `forced` or `crash`."""

    reason: str
    restart_type: str


# gunicorn.arbiter.Arbiter.WORKER_BOOT_ERROR and APP_LOAD_ERROR
_BOOT_ERRORS = {3: "boot_error", 4: "app_load_error"}
_ASKING = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)


def explain(end: End) -> Exit:
    """Return why a worker ended, the surest evidence first."""
    if end.aborted:
        return Exit("timeout", "forced")
    if end.exited and end.status in _BOOT_ERRORS:
        return Exit(_BOOT_ERRORS[end.status], "crash")
    asked = next((sent.cause for sent in end.sent if sent.signal in _ASKING), None)
    if asked is not None:
        killed = end.exited is False and end.status == signal.SIGKILL
        return Exit(asked, "forced" if killed else "graceful")
    if end.requests >= end.max_requests and end.exited is not False:
        return Exit("max_requests", "graceful")
    return _unasked(end)


def _unasked(end: End) -> Exit:
    """Explain the end of a worker that the master did not ask for."""
    if end.exited is False and end.status == signal.SIGKILL:
        return Exit("sigkill", "crash")
    if end.word is not Word.NONE:
        return Exit(end.word.name.lower(), "graceful")
    if end.exited is False:
        graceful = end.status in _ASKING
        name = signal.Signals(end.status).name.lower()
        return Exit(name, "graceful" if graceful else "crash")
    if end.exited is None:
        return Exit("unknown", "crash")
    return Exit(f"exit_{end.status}", "graceful" if end.status == 0 else "crash")
