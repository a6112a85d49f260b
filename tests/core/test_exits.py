"""Why a worker ended, told from what is known of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from gunicorn_prometheus_exporter.exits import (
    End,
    Exit,
    WaitStatus,
    Word,
    collected,
    explain,
    peek,
    signal_name,
)
from tests.support.waiting import wait_until

GOOD = WaitStatus(True, 0)
KILLED = WaitStatus(False, signal.SIGKILL)
NOTHING = End(
    status=GOOD, aborted=False, asked=None, word=Word.NONE, requests=0, max_requests=sys.maxsize
)

CASES = {
    "aborted, whatever the status says": ({"aborted": True}, "timeout", "forced"),
    "aborted while it was asked to end": (
        {"aborted": True, "asked": "hup", "status": KILLED}, "timeout", "forced"
    ),
    "not booted": ({"status": WaitStatus(True, 3)}, "boot_error", "crash"),
    "application not loaded": ({"status": WaitStatus(True, 4)}, "app_load_error", "crash"),
    "asked": ({"asked": "hup"}, "hup", "graceful"),
    "asked, and ended by that signal": (
        {"asked": "ttou", "status": WaitStatus(False, signal.SIGTERM)}, "ttou", "graceful"
    ),
    "asked, but too slow": ({"asked": "shutdown", "status": KILLED}, "shutdown", "forced"),
    "asked after it was full": (
        {"asked": "hup", "requests": 5, "max_requests": 5}, "hup", "graceful"
    ),
    "full": ({"requests": 5, "max_requests": 5}, "max_requests", "graceful"),
    "full, unseen": (
        {"requests": 5, "max_requests": 5, "status": None}, "max_requests", "graceful"
    ),
    "full, but broken": (
        {"requests": 5, "max_requests": 5, "status": WaitStatus(True, 7)}, "exit_7", "crash"
    ),
    "killed": ({"status": KILLED}, "sigkill", "crash"),
    "killed while it left": ({"status": KILLED, "word": Word.SIGTERM}, "sigkill", "crash"),
    "told by somebody else": ({"word": Word.SIGTERM}, "sigterm", "graceful"),
    "told to hurry": ({"word": Word.SIGQUIT}, "sigquit", "graceful"),
    "new code": ({"word": Word.RELOAD}, "reload", "graceful"),
    "ended by a signal without a word": (
        {"status": WaitStatus(False, signal.SIGTERM)}, "sigterm", "graceful"
    ),
    "crashed": ({"status": WaitStatus(False, signal.SIGSEGV)}, "sigsegv", "crash"),
    "ended by a signal without a name": ({"status": WaitStatus(False, 41)}, "signal_41", "crash"),
    "gave up": ({"status": WaitStatus(True, 7)}, "exit_7", "crash"),
    "left": ({}, "exit_0", "graceful"),
    "unseen": ({"status": None}, "unknown", "crash"),
}  # fmt: skip


@pytest.mark.parametrize(("known", "reason", "kind"), CASES.values(), ids=CASES.keys())
def test_the_surest_evidence_counts(known: dict[str, object], reason: str, kind: str) -> None:
    assert explain(replace(NOTHING, **known)) == Exit(reason, kind)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit(7)", WaitStatus(True, 7)),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", KILLED),
    ],
    ids=["exit code", "signal"],
)
def test_peeking_leaves_the_status_to_who_collects_it(code: str, expected: WaitStatus) -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", code])

    assert wait_until(lambda: peek(child.pid)) == expected
    assert WaitStatus.of(os.waitpid(child.pid, 0)[1]) == expected
    assert peek(child.pid) is None
    child.returncode = 0  # it was collected here


def test_a_living_child_has_no_status() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert peek(child.pid) is None


def test_the_status_that_gunicorn_has_collected_is_found_above_its_hook() -> None:
    def child_exit() -> WaitStatus | None:
        return collected(sys._getframe())

    def reap_workers() -> WaitStatus | None:
        status = 7 << 8  # as gunicorn's own reap_workers() calls it
        assert status
        return child_exit()

    assert reap_workers() == WaitStatus(True, 7)
    assert child_exit() is None


def test_every_signal_has_a_name_of_its_own() -> None:
    names = {signal_name(number) for number in range(1, signal.NSIG)}

    assert len(names) == signal.NSIG - 1
