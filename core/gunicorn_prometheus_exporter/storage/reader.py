"""Reads all arenas of a volume, parsing of each only what it has not seen before.

Arenas are read with `pread`, never mapped: a file that somebody truncates while it is mapped kills
the process that touches it with SIGBUS. Copying costs a tenth of a scrape.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gunicorn_prometheus_exporter.storage.blocks import Block, Layout, has_timestamps
from gunicorn_prometheus_exporter.storage.contract import ARCHIVE, KINDS, ArenaName, Region, Volume
from gunicorn_prometheus_exporter.storage.layout import (
    FIRST,
    CorruptArenaError,
    Series,
    decode_key,
    entries,
    read_head,
)
from gunicorn_prometheus_exporter.storage.locks import is_locked

Identity = tuple[int, int, int, int]
"""Device, inode, offset and generation: what tells an arena from another one of the same name."""


@dataclass(frozen=True, slots=True)
class _Parsed:
    """What is known of an arena, up to the byte `used`."""

    identity: Identity
    used: int
    layout: Layout
    offsets: tuple[int, ...]
    cells: struct.Struct
    last: tuple[int, bytes]
    """The place and the key of the last entry: files of others have no generation to tell by."""

    def continues(self, identity: Identity, data: bytes) -> bool:
        """Return whether `data` starts with all entries that were parsed before."""
        place, key = self.last
        same = identity == self.identity and len(data) >= self.used
        return same and data.startswith(key, place)


class Reader:
    """Reads the arenas of `volume`, skipping what cannot be read."""

    def __init__(self, volume: Volume) -> None:
        """Prepare to read; nothing is opened before `read()`, and nothing is left open by it."""
        self._volume = volume
        self._parsed: dict[ArenaName, _Parsed] = {}
        self._interned: dict[bytes, Series] = {}
        self.skipped = 0
        """How many arenas the last read left out: empty, cut off, garbage, foreign or vanished."""
        self.errors = 0
        """How many arenas all reads together left out."""

    def read(self) -> list[Block]:
        """Return a block for each arena that can be read; raises nothing whatever stands there."""
        blocks: list[Block] = []
        parsed: dict[ArenaName, _Parsed] = {}
        live: dict[str, bool] = {}
        self.skipped = 0
        for name in self._names():
            try:
                known, data = self._read_arena(name)
            except (OSError, CorruptArenaError):
                self.skipped += 1
                continue
            parsed[name] = known
            if name.owner not in live:
                live[name.owner] = is_live(self._volume, name.owner)
            blocks.append(_block(name, live[name.owner], known, data))
        self._parsed = parsed
        self.errors += self.skipped
        self._forget_keys()
        return blocks

    def _names(self) -> Iterator[ArenaName]:
        try:
            yield from self._volume.arenas()
        except OSError:  # the directory is gone, or not ours to list
            self.skipped += 1

    def _read_arena(self, name: ArenaName) -> tuple[_Parsed, bytes]:
        if name.kind not in KINDS:
            raise CorruptArenaError(f"not a kind of metric: {name.kind}")
        known = self._parsed.get(name)
        region = self._volume.open_arena(name)
        try:
            identity, data = _read_region(region, known.used if known else FIRST)
        finally:
            os.close(region.fd)
        if known is None or not known.continues(identity, data):
            known = None
        elif known.used == len(data):
            return known, data
        return self._parse(name, identity, data, known), data

    def _parse(
        self, name: ArenaName, identity: Identity, data: bytes, known: _Parsed | None
    ) -> _Parsed:
        """Return what `data` holds, reading only the entries that come after the `known` ones."""
        series = list(known.layout.series) if known else []
        offsets = list(known.offsets) if known else []
        key = known.last[1] if known else b""
        for key, offset in entries(data, known.used if known else FIRST, len(data)):
            series.append(self._series(key))
            offsets.append(offset)
        last = data.rindex(key, 0, offsets[-1]) if offsets else 0, key
        cells = _cells(offsets, width=2 if has_timestamps(name.kind) else 1)
        layout = Layout(tuple(series))
        return _Parsed(identity, len(data), layout, tuple(offsets), cells, last)

    def _series(self, key: bytes) -> Series:
        """Return what `key` stands for; the same object for the same key of all arenas."""
        series = self._interned.get(key)
        if series is None:
            series = self._interned[key] = decode_key(key)
        return series

    def _forget_keys(self) -> None:
        used = sum(len(known.offsets) for known in self._parsed.values())
        if len(self._interned) > used + 1000:
            self._interned.clear()


def is_live(volume: Volume, owner: str) -> bool:
    """Return whether the process that owns the slot `owner`, or has that process id, is alive."""
    if owner == ARCHIVE:
        return False
    try:
        region = volume.open_header(owner, create=False)
    except FileNotFoundError:
        return _process_exists(owner)
    except OSError:
        return False
    try:
        return is_locked(region)
    except OSError:
        return False
    finally:
        os.close(region.fd)


def _process_exists(pid: str) -> bool:
    if not pid.isascii() or not pid.isdigit() or int(pid) == 0:
        return False
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _read_region(region: Region, expected: int) -> tuple[Identity, bytes]:
    """Return the identity of the arena in `region`, and its bytes up to the last entry's end.

    Done in one go if that is where it is `expected`.
    """
    status = os.fstat(region.fd)
    size = min(region.limit, status.st_size - region.offset)
    data = os.pread(region.fd, expected, region.offset)
    used, generation = read_head(data, size)
    if used != len(data):
        data = os.pread(region.fd, used, region.offset)
    if len(data) != used:
        raise CorruptArenaError("it was cut off while being read")
    return (status.st_dev, status.st_ino, region.offset, generation), data


def _cells(offsets: list[int], *, width: int) -> struct.Struct:
    """Return what unpacks `width` doubles at each of `offsets`, which increase."""
    code, position = [], 0
    for offset in offsets:
        code.append(f"{offset - position}x{'d' * width}")
        position = offset + 8 * width
    return struct.Struct("".join(code))


def _block(name: ArenaName, live: bool, known: _Parsed, data: bytes) -> Block:
    doubles = known.cells.unpack_from(data)
    if has_timestamps(name.kind):
        return Block(name.kind, name.owner, live, known.layout, doubles[::2], doubles[1::2])
    return Block(name.kind, name.owner, live, known.layout, doubles, ())
