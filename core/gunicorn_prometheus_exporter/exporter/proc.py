"""What Linux tells of a process under /proc; elsewhere nothing is known."""

from __future__ import annotations

import os
from typing import NamedTuple

AVAILABLE = os.path.exists("/proc/self/stat")
"""Whether processes can be seen here at all."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# Positions among the fields after the command's name; proc_pid_stat(5) counts them from 3.
_UTIME, _STIME, _THREADS, _RSS = 14 - 3, 15 - 3, 20 - 3, 24 - 3


class ProcessStats(NamedTuple):
    """What a process uses: resident memory in bytes, CPU time in seconds, threads."""

    pid: int
    memory: int
    cpu_seconds: float
    threads: int


def process_stats(pid: int) -> ProcessStats | None:
    """Return what the process `pid` uses, or None if it is gone or cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read()
        # The command's name stands in parentheses and may hold spaces and parentheses itself.
        fields = text[text.rindex(b")") + 2 :].split()
        cpu = (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS
        return ProcessStats(pid, int(fields[_RSS]) * _PAGE, cpu, int(fields[_THREADS]))
    except (OSError, ValueError, IndexError):
        return None


def open_fds(pid: int) -> int | None:
    """Return how many file descriptors the process `pid` has open, or None if that is not known."""
    folder = f"/proc/{pid}/fd"
    try:
        # Linux 6.2 and newer tell it as the size, also to those who may not list the folder.
        return os.stat(folder).st_size or len(os.listdir(folder))
    except OSError:
        return None
