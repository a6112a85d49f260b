"""Slots: the place in shared storage that one process at a time owns, through a kernel lock."""

from __future__ import annotations

import itertools
import os
import time

from gunicorn_prometheus_exporter.storage.contract import ROLES, Region, Volume
from gunicorn_prometheus_exporter.storage.header import MAGIC, Field, Header, State
from gunicorn_prometheus_exporter.storage.locks import is_locked, try_lock


class Slot:
    """A claimed slot. It is free again when this process ends, in whatever way."""

    def __init__(self, name: str, lock: Region) -> None:
        """Take over the header page of a slot whose lock this process has just got."""
        self.name = name
        self._lock = lock
        self.header = Header(lock)
        self.is_used_again = self.header[Field.CLAIMS] > 0
        self._sign()

    def _sign(self) -> None:
        now = time.time()
        self.header[Field.MAGIC] = MAGIC
        self.header[Field.PID] = os.getpid()
        self.header[Field.AGE] = 0
        self.header[Field.STARTED] = now
        self.header[Field.CLAIMS] += 1
        self.enter(State.BOOTING, now)

    def enter(self, state: State, now: float | None = None) -> None:
        """Note that the owner has entered `state`."""
        self.header[Field.STATE_SINCE] = time.time() if now is None else now
        self.header[Field.STATE] = state

    @property
    def state(self) -> State:
        """The state that was entered last."""
        return State(int(self.header[Field.STATE]))

    def release(self) -> None:
        """Let go of the slot. A forked child must, or its parent's lock outlives the parent."""
        # The mapping holds a duplicate of the descriptor, and with it the lock.
        self.header.close()
        os.close(self._lock.fd)


def claim(volume: Volume, role: str) -> Slot:
    """Return the lowest free slot for `role`, now owned by this process.

    Raises OSError or StorageError where there is no space for another one.
    """
    for index in itertools.count():
        name = f"{ROLES[role]}{index}"
        region = volume.open_header(name, create=True)
        if try_lock(region):
            return Slot(name, region)
        os.close(region.fd)
    raise AssertionError("unreachable")


def is_held(volume: Volume, slot: str) -> bool:
    """Return whether a living process owns `slot`."""
    try:
        region = volume.open_header(slot, create=False)
    except FileNotFoundError:
        return False
    try:
        return is_locked(region)
    finally:
        os.close(region.fd)
