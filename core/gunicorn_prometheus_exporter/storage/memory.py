"""A volume that is one anonymous memory file, for metrics that leave no file behind.

The file is sparse. Every slot has a number; slot `n` has its header in page `n`, and after all
headers each pair of slot and kind has a range of its own, of which only what is used takes memory.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator

from gunicorn_prometheus_exporter.errors import StorageError
from gunicorn_prometheus_exporter.storage.contract import ARCHIVE, KINDS, ROLES, ArenaName, Region
from gunicorn_prometheus_exporter.storage.header import PAGE
from gunicorn_prometheus_exporter.storage.layout import encode_head
from gunicorn_prometheus_exporter.storage.space import reserve

CAPACITY = {"worker": 1024, "master": 16, "child": 1008}
"""How many slots there are for each role."""

MAX_ARENA = 16 << 20
"""Bytes of the largest arena."""

_FIRST = dict(zip(CAPACITY, (0, 1024, 1040), strict=True))
_SLOTS = sum(CAPACITY.values()) + 1
_ARCHIVE_SLOT = _SLOTS - 1
_ARENAS = _SLOTS * PAGE
_HEAD = struct.Struct("ii")
_ROLE_OF = {prefix: role for role, prefix in ROLES.items()}
# The archive has no header; its page holds the number of slots ever used, by role.
_COUNTS = _ARCHIVE_SLOT * PAGE
_COUNT = struct.Struct("q")
_IDENTITY = _COUNTS + PAGE // 2
"""In the same page: what this memory is told by from any other, and who publishes it."""


def _number(slot: str) -> int:
    """Return the number of a slot; raises StorageError for one beyond the capacity."""
    if slot == ARCHIVE:
        return _ARCHIVE_SLOT
    role = _ROLE_OF[slot.rstrip("0123456789")]
    index = int(slot[len(ROLES[role]) :])
    if index >= CAPACITY[role]:
        raise StorageError(f"all {CAPACITY[role]} slots for a {role} process are in use")
    return _FIRST[role] + index


class MemoryVolume:
    """The slots and arenas in the memory file `fd`, which stays the caller's."""

    def __init__(self, fd: int) -> None:
        """Use the file behind the descriptor `fd`, which `create()` made."""
        self.fd = fd

    @classmethod
    def create(cls) -> MemoryVolume:
        """Return a new empty volume; its descriptor is inherited by forked processes only."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("gunicorn-prometheus", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, _ARENAS + _SLOTS * len(KINDS) * MAX_ARENA)
        reserve(fd, _COUNTS, PAGE)
        os.pwrite(fd, os.urandom(16), _IDENTITY)
        return cls(fd)

    def open_identity(self) -> Region:
        """Return bytes that live as long as the memory and begin with 16 random ones.

        The lock of this region belongs to the process that publishes the memory.
        """
        return Region(self._reopen(), _IDENTITY, PAGE // 2)

    def open_header(self, slot: str, *, create: bool) -> Region:
        """Return the header page of `slot`."""
        number = _number(slot)
        if create:
            reserve(self.fd, number * PAGE, PAGE)
            if slot != ARCHIVE:
                self._note_use(slot)
        elif slot not in self.slots():
            raise FileNotFoundError(slot)
        return Region(self._reopen(), number * PAGE, PAGE)

    def open_arena(self, name: ArenaName) -> Region:
        """Return the arena `name`; raises FileNotFoundError if there is none."""
        offset = self._arena_offset(name)
        if not self._used(offset):
            raise FileNotFoundError(f"{name.kind}_{name.owner}")
        return Region(os.dup(self.fd), offset, MAX_ARENA)

    def create_arena(self, name: ArenaName, size: int) -> Region:
        """Return a new arena in place of any old one, with the next generation."""
        offset = self._arena_offset(name)
        reserve(self.fd, offset, size)
        generation = _HEAD.unpack(os.pread(self.fd, _HEAD.size, offset))[1]
        os.pwrite(self.fd, encode_head(generation + 1), offset)
        return Region(os.dup(self.fd), offset, MAX_ARENA)

    def slots(self) -> Iterator[str]:
        """Yield the name of each slot that was ever claimed."""
        for role, count in self._counts().items():
            yield from (f"{ROLES[role]}{index}" for index in range(count))

    def arenas(self) -> Iterator[ArenaName]:
        """Yield the name of each arena, in a stable order."""
        for slot in (*self.slots(), ARCHIVE):
            for kind in KINDS:
                name = ArenaName(kind, slot)
                if self._used(self._arena_offset(name)):
                    yield name

    def delete_arena(self, name: ArenaName) -> None:
        """Empty an arena; its generation stays, so that readers notice the next one."""
        offset = self._arena_offset(name)
        if self._used(offset):
            os.pwrite(self.fd, _COUNT.pack(0)[:4], offset)

    def _arena_offset(self, name: ArenaName) -> int:
        return _ARENAS + (_number(name.owner) * len(KINDS) + KINDS.index(name.kind)) * MAX_ARENA

    def _used(self, offset: int) -> int:
        return int(_HEAD.unpack(os.pread(self.fd, _HEAD.size, offset))[0])

    def _counts(self) -> dict[str, int]:
        data = os.pread(self.fd, _COUNT.size * len(CAPACITY), _COUNTS)
        return {role: n for role, (n,) in zip(CAPACITY, _COUNT.iter_unpack(data), strict=True)}

    def _note_use(self, slot: str) -> None:
        role = _ROLE_OF[slot.rstrip("0123456789")]
        used = int(slot[len(ROLES[role]) :]) + 1
        if used > self._counts()[role]:
            offset = _COUNTS + list(CAPACITY).index(role) * _COUNT.size
            os.pwrite(self.fd, _COUNT.pack(used), offset)

    def _reopen(self) -> int:
        """Return a descriptor of its own open file description, which can hold locks of its own."""
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC)
