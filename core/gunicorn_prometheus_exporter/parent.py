"""Learns at once that the parent process has ended, where the system can tell."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def ask_for_signal(number: int) -> None:
    """Have the kernel send this process the signal `number` when its parent ends, on Linux.

    A change of user takes it back, and a parent that has ended already is not reported.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
