"""What the kernel says of processes: parents, sessions, state, and the files they map."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One live process, as `/proc/<pid>/stat` describes it."""

    pid: int
    state: str
    parent: int
    group: int
    session: int

    @property
    def alive(self) -> bool:
        """Whether it still runs: a zombie that nobody reaped yet does not."""
        return self.state not in "ZX"

    @property
    def command(self) -> list[str]:
        """Its command line; empty where it is gone."""
        try:
            return (PROC / str(self.pid) / "cmdline").read_text(errors="replace").split("\0")[:-1]
        except OSError:
            return []


def process(pid: int) -> Process | None:
    """Return the process `pid`, or None where there is none."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The command's name stands in parentheses and may itself hold parentheses and spaces.
    state, parent, group, session = stat.rpartition(")")[2].split()[:4]
    return Process(pid, state, int(parent), int(group), int(session))


def is_alive(pid: int) -> bool:
    """Return whether `pid` runs and is not a zombie."""
    found = process(pid)
    return found is not None and found.alive


def live_processes() -> list[Process]:
    """Return every process that runs."""
    found = [process(int(name)) for name in os.listdir(PROC) if name.isdigit()]
    return [one for one in found if one is not None and one.alive]


def children(pid: int) -> list[Process]:
    """Return the live children of `pid`."""
    return [one for one in live_processes() if one.parent == pid]


def catches(pid: int, sig: int) -> bool:
    """Return whether `pid` has a handler for the signal `sig`; False where it is gone."""
    try:
        status = (PROC / str(pid) / "status").read_text(errors="replace")
    except OSError:
        return False
    mask = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(mask >> (sig - 1) & 1)


def mapped_files(pid: int) -> set[Path]:
    """Return the regular files that `pid` has mapped; empty where it is gone."""
    try:
        lines = (PROC / str(pid) / "maps").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    fields = [line.split(maxsplit=5) for line in lines]
    return {Path(parts[5]) for parts in fields if len(parts) == 6 and parts[5].startswith("/")}
