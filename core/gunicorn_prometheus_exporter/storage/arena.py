"""One growing block of samples in shared memory, written by the one process that owns its slot."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Sequence
from typing import TypeAlias

from gunicorn_prometheus_exporter.storage.contract import ArenaName, Region, Volume
from gunicorn_prometheus_exporter.storage.layout import (
    FIRST,
    CorruptArenaError,
    encode_entry,
    entries,
    read_used,
)
from gunicorn_prometheus_exporter.storage.space import reserve

At: TypeAlias = "tuple[memoryview[float], int]"
"""Where a value is: a view of doubles and an index in it. The timestamp is the next double."""

INITIAL_SIZE = 16 << 10
_PAGE = mmap.ALLOCATIONGRANULARITY


def read_arena(region: Region) -> bytes:
    """Return the used bytes of an arena as they are now; raises CorruptArenaError."""
    fd, offset, limit = region
    head = os.pread(fd, FIRST, offset)
    if len(head) < FIRST:
        raise CorruptArenaError("too short to be an arena")
    used = int.from_bytes(head[:4], sys.byteorder)
    data = os.pread(fd, max(FIRST, min(used, limit)), offset)
    return data[: read_used(data)]


class NoSpaceError(Exception):
    """There is no room for another series: on the disk, in memory, or within an arena's limit."""


class Arena:
    """The entries of one kind of metric of one slot.

    A view into the arena stays valid when it grows: the old mapping shows the same bytes.
    """

    def __init__(self, volume: Volume, name: ArenaName) -> None:
        """Open the arena `name`, or make it; one that is corrupt is begun anew."""
        self._offsets: dict[bytes, int] = {}
        try:
            self._region = volume.open_arena(name)
        except FileNotFoundError:
            self._begin(volume, name)
            return
        try:
            self._read()
        except CorruptArenaError:
            os.close(self._region.fd)
            self._offsets.clear()
            self._begin(volume, name)

    def _begin(self, volume: Volume, name: ArenaName) -> None:
        try:
            self._region = volume.create_arena(name, INITIAL_SIZE)
        except OSError as error:
            raise NoSpaceError(str(error)) from error
        self._used = FIRST
        self._map(INITIAL_SIZE)

    def _read(self) -> None:
        data = read_arena(self._region)
        self._used = len(data)
        self._offsets = dict(entries(data, FIRST, self._used))
        self._grow_to(self._used)

    def close(self) -> None:
        """Close the file; views into the arena stay usable."""
        os.close(self._region.fd)

    def keys(self) -> list[bytes]:
        """Return the keys of all entries."""
        return list(self._offsets)

    def find(self, key: bytes) -> At | None:
        """Return where the value of `key` is, if it has one."""
        offset = self._offsets.get(key)
        return None if offset is None else (self._doubles, offset // 8)

    def append(self, keys: Sequence[bytes], values: Sequence[tuple[float, float]] = ()) -> list[At]:
        """Add entries and return where their values are; readers see all of them or none.

        values: the first value and timestamp of each entry, instead of zeros.
        Raises NoSpaceError, and then nothing is added.
        """
        block, offsets = bytearray(), []
        for key in keys:
            block += encode_entry(key)
            offsets.append(self._used + len(block) - 16)
        end = self._used + len(block)
        if end > self._capacity:
            self._grow_to(end)
        self._bytes[self._used : end] = block
        places = [(self._doubles, offset // 8) for offset in offsets]
        for (doubles, index), (value, timestamp) in zip(places, values, strict=False):
            doubles[index], doubles[index + 1] = value, timestamp
        self._head[0] = self._used = end
        self._offsets.update(zip(keys, offsets, strict=True))
        return places

    def _grow_to(self, end: int) -> None:
        fd, offset, limit = self._region
        size = INITIAL_SIZE
        while size < end:
            size *= 2
        if size > limit:
            raise NoSpaceError(f"an arena holds at most {limit} bytes")
        try:
            reserve(fd, offset, size)
            self._map(size)
        except OSError as error:
            raise NoSpaceError(str(error)) from error

    def _map(self, size: int) -> None:
        self._bytes = mmap.mmap(self._region.fd, size, offset=self._region.offset)
        view = memoryview(self._bytes)
        self._doubles, self._head = view.cast("d"), view[:4].cast("i")
        self._capacity = size
