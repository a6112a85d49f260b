"""Why a worker ended: reason and kind of restart, from everything the master knows of it."""

from __future__ import annotations

import enum
import os
import signal
from dataclasses import dataclass
from types import FrameType


class Word(enum.IntEnum):
    """What a worker says itself about its end, on the page that it shares with the master."""

    NONE = 0
    SIGTERM = 1
    SIGQUIT = 2
    RELOAD = 3


@dataclass(frozen=True, slots=True)
class WaitStatus:
    """How a process ended: by itself with the exit code `number`, or by that signal."""

    exited: bool
    number: int

    @classmethod
    def of(cls, status: int) -> WaitStatus:
        """Return what `status`, as os.waitpid() returns it, says."""
        if os.WIFEXITED(status):
            return cls(True, os.WEXITSTATUS(status))
        return cls(False, os.WTERMSIG(status))

    def is_killed_by(self, number: int) -> bool:
        """Return whether the signal `number` ended the process."""
        return not self.exited and self.number == number


@dataclass(slots=True)
class Watch:
    """What the master notes of a worker that lives, and is needed when it is gone."""

    asked: str | None = None
    """What the master first asked it to end for: `hup`, `ttou`, `shutdown`, …"""
    status: WaitStatus | None = None


@dataclass(frozen=True, slots=True)
class End:
    """What is known of a worker that ended.

    status: None if nobody saw it.
    aborted: the master lost patience with it.
    asked: what the master asked it to end for; None if it did not.
    """

    status: WaitStatus | None
    aborted: bool
    asked: str | None
    word: Word
    requests: int
    max_requests: int


@dataclass(frozen=True, slots=True)
class Exit:
    """Why a worker ended; `restart_type` is `graceful`, `forced` or `crash`."""

    reason: str
    restart_type: str


ASKING = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
"""The signals that a worker may answer by finishing what it does."""

_GOOD = WaitStatus(True, 0)
# gunicorn.arbiter.Arbiter.WORKER_BOOT_ERROR and APP_LOAD_ERROR
_BOOT_ERRORS = {3: "boot_error", 4: "app_load_error"}


def explain(end: End) -> Exit:
    """Return why a worker ended, the surest evidence first."""
    status = end.status
    if end.aborted:
        return Exit("timeout", "forced")
    if status and status.exited and status.number in _BOOT_ERRORS:
        return Exit(_BOOT_ERRORS[status.number], "crash")
    killed = status is not None and status.is_killed_by(signal.SIGKILL)
    if end.asked is not None:
        return Exit(end.asked, "forced" if killed else "graceful")
    if killed:
        return Exit("sigkill", "crash")
    if end.requests >= end.max_requests and (status is None or status == _GOOD):
        return Exit("max_requests", "graceful")
    if end.word is not Word.NONE:
        return Exit(end.word.name.lower(), "graceful")
    return _by_status(status)


def _by_status(status: WaitStatus | None) -> Exit:
    """Explain the end of a worker of which nothing else is known."""
    if status is None:
        return Exit("unknown", "crash")
    if status.exited:
        return Exit(f"exit_{status.number}", "graceful" if status.number == 0 else "crash")
    return Exit(signal_name(status.number), "graceful" if status.number in ASKING else "crash")


def signal_name(number: int) -> str:
    """Return the name of a signal in lower case; the real-time ones between have none."""
    try:
        return signal.Signals(number).name.lower()
    except ValueError:
        return f"signal_{number}"


def peek(pid: int) -> WaitStatus | None:
    """Return how the child `pid` ended, and leave it for gunicorn to collect; None if it lives."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return WaitStatus(found.si_code == os.CLD_EXITED, found.si_status)


def collected(frame: FrameType | None) -> WaitStatus | None:
    """Return the status that gunicorn has just collected, told from a hook that it calls.

    `Arbiter.reap_workers()`, which is somewhere above `frame`, keeps it in the local variable
    `status` (gunicorn 22 to 27) and shows it to nobody.
    """
    while frame is not None:
        if frame.f_code.co_name == "reap_workers" and "status" in frame.f_locals:
            return WaitStatus.of(frame.f_locals["status"])
        frame = frame.f_back
    return None
