"""Snapshots: the samples of one instance at one moment, as they stand in Redis.

    16 digits  Redis's own time when it was stored, in milliseconds
    16 digits  sequence number
    body:
      20 bytes  what its schema is called, the SHA-1 of the schema's text
      1 byte    1 for an archive, which no instance will ever publish again, else 0
      uint16    length of the instance's name
      uint32    number of blocks
      uint32    number of absorbed instances
      the name, in UTF-8
      one byte for each block: whether its owner was alive
      for each absorbed instance: its id (16 bytes), and when it was absorbed (double, milliseconds)
      the values of all blocks (doubles), with timestamps where the kind of a block has them

Numbers are little-endian. A *schema* says which series the values belong to. Instances that have
the same series share it, so series stand in it in the order of their names.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gunicorn_prometheus_exporter.storage.blocks import Block, Layout, has_timestamps
from gunicorn_prometheus_exporter.storage.layout import Series

_HEAD = struct.Struct("<20sBHII")
_ABSORBED = struct.Struct("<16sd")
_DIGITS = 16
_MAX_SCHEMA = 64 << 20
"""Bytes of the longest text of a schema that is believed."""


class CorruptSnapshotError(ValueError):
    """What stands in Redis is not what we write there."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a schema that describes one block."""

    kind: str
    owner: str
    layout: Layout


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """What the values of a snapshot belong to. `packed` is its compressed text."""

    id: bytes
    packed: bytes
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The samples of one instance, still packed. `stamp` is in milliseconds, 0 for not known."""

    id: str
    sequence: int
    stamp: int
    body: bytes

    @property
    def schema_id(self) -> bytes:
        """What its schema is called."""
        return self.body[:20]

    @property
    def is_archive(self) -> bool:
        """Whether it sums up instances that are gone."""
        return self.body[20] == 1

    @property
    def is_correction(self) -> bool:
        """Whether it takes off from an instance what an archive has of it."""
        return self.is_archive and bool(self.name)

    @property
    def name(self) -> str:
        """The name that the instance is shown under."""
        return self.body[_HEAD.size : _HEAD.size + self._head()[2]].decode(errors="replace")

    @property
    def absorbed(self) -> Mapping[str, float]:
        """The instances that are summed up here, and when each came in."""
        _, _, length, blocks, count = self._head()
        start = _HEAD.size + length + blocks
        data = self.body[start : start + count * _ABSORBED.size]
        return {identity.hex(): when for identity, when in _ABSORBED.iter_unpack(data)}

    def stamped(self, stamp: int) -> Snapshot:
        """Return the same snapshot, stored at `stamp`."""
        return replace(self, stamp=stamp)

    def _head(self) -> tuple[bytes, int, int, int, int]:
        return _HEAD.unpack_from(self.body)

    def blocks(self, schema: Schema) -> list[Block]:
        """Return its blocks; raises CorruptSnapshotError where `schema` does not fit."""
        _, _, length, count, absorbed = self._head()
        alive = self.body[_HEAD.size + length :][:count]
        values = _doubles(self.body[_HEAD.size + length + count + absorbed * _ABSORBED.size :])
        if len(schema.parts) != count or _cells(schema.parts) != len(values):
            raise CorruptSnapshotError(f"the snapshot {self.id} does not fit its schema")
        blocks, start = [], 0
        for part, live in zip(schema.parts, alive, strict=True):
            end = start + _width(part.kind) * len(part.layout.series)
            blocks.append(_block(part, bool(live), values[start:end]))
            start = end
        return blocks


def _block(part: Part, live: bool, cells: list[float]) -> Block:
    if has_timestamps(part.kind):
        return Block(part.kind, part.owner, live, part.layout, cells[::2], cells[1::2])
    return Block(part.kind, part.owner, live, part.layout, cells, ())


def parse_snapshot(identity: str, raw: bytes) -> Snapshot:
    """Return the snapshot that stands in Redis as `raw`; raises CorruptSnapshotError."""
    try:
        stamp, sequence = int(raw[:_DIGITS]), int(raw[_DIGITS : 2 * _DIGITS])
        body = raw[2 * _DIGITS :]
        _, _, length, blocks, absorbed = _HEAD.unpack_from(body)
        valid = len(bytes.fromhex(identity)) == 16
    except (ValueError, struct.error) as error:
        raise CorruptSnapshotError(f"not a snapshot: {raw[:60]!r}") from error
    start = _HEAD.size + length + blocks + absorbed * _ABSORBED.size
    if not valid or start > len(body) or (len(body) - start) % 8:
        raise CorruptSnapshotError(f"the snapshot {identity!r} is cut off")
    return Snapshot(identity, sequence, stamp, body)


class Packer:
    """Packs the blocks of one instance, working out a schema only when their layouts change."""

    def __init__(self) -> None:
        """Begin with no schema."""
        self._key: tuple[tuple[Layout, str, str], ...] | None = None
        self._schema = make_schema(())
        self._pickers: list[Callable[[Sequence[float]], Sequence[float]]] = []

    def pack(self, blocks: Sequence[Block], name: str) -> tuple[Schema, bytes]:
        """Return the schema and the body of a snapshot of `blocks`."""
        blocks = sorted(blocks, key=lambda block: (block.kind, block.owner))
        key = tuple((block.layout, block.kind, block.owner) for block in blocks)
        if key != self._key:
            orders = [_order(block.layout) for block in blocks]
            self._schema = make_schema(list(zip(blocks, orders, strict=True)))
            self._pickers = [_picker(order) for order in orders]
            self._key = key
        cells: list[float] = []
        for block, pick in zip(blocks, self._pickers, strict=True):
            if has_timestamps(block.kind):
                pairs = zip(pick(block.values), pick(block.timestamps), strict=True)
                cells += itertools.chain.from_iterable(pairs)
            else:
                cells += pick(block.values)
        return self._schema, pack_body(self._schema, [block.live for block in blocks], cells, name)


def make_schema(blocks: Sequence[tuple[Block, Sequence[int]]]) -> Schema:
    """Return the schema of `blocks`, each with the order in which its series are listed."""
    parts = [
        Part(block.kind, block.owner, Layout(tuple(block.layout.series[i] for i in order)))
        for block, order in blocks
    ]
    listed = [[part.kind, part.owner, part.layout.series] for part in parts]
    text = json.dumps(listed, separators=(",", ":")).encode()
    schema_id = hashlib.sha1(text, usedforsecurity=False).digest()
    return Schema(schema_id, zlib.compress(text), tuple(parts))


def parse_schema(schema_id: bytes, packed: bytes, known: dict[Series, Series]) -> Schema:
    """Return the schema that stands in Redis as `packed`; raises CorruptSnapshotError.

    known: the series of other schemas, which are used again: the same object is found faster.
    """
    try:
        text = zlib.decompressobj().decompress(packed, _MAX_SCHEMA)
        if hashlib.sha1(text, usedforsecurity=False).digest() != schema_id:
            raise CorruptSnapshotError("a schema is not what it is called")
        parts = tuple(_part(kind, owner, rows, known) for kind, owner, rows in json.loads(text))
    except (ValueError, TypeError, zlib.error, RecursionError) as error:
        raise CorruptSnapshotError(f"not a schema: {error}") from error
    return Schema(schema_id, packed, parts)


def _part(kind: Any, owner: Any, rows: Any, known: dict[Series, Series]) -> Part:
    series = []
    for family, sample, labels, help_text in rows:
        one = Series(family, sample, tuple((name, value) for name, value in labels), help_text)
        series.append(known.setdefault(one, one))
    return Part(str(kind), str(owner), Layout(tuple(series)))


def pack_body(
    schema: Schema,
    alive: Sequence[bool],
    cells: Sequence[float],
    name: str,
    *,
    absorbed: Mapping[str, float] | None = None,
) -> bytes:
    """Return the body of a snapshot; it is an archive if anything is `absorbed`, even nothing."""
    label = name.encode(errors="backslashreplace")[:1000]
    gone = absorbed or {}
    head = _HEAD.pack(schema.id, absorbed is not None, len(label), len(alive), len(gone))
    listed = b"".join(_ABSORBED.pack(bytes.fromhex(one), when) for one, when in gone.items())
    values = array("d", cells)
    if sys.byteorder == "big":
        values.byteswap()
    return b"".join((head, label, bytes(alive), listed, values.tobytes()))


def _doubles(data: bytes) -> list[float]:
    values = array("d", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def _order(layout: Layout) -> list[int]:
    return sorted(range(len(layout.series)), key=layout.series.__getitem__)


def _picker(order: Sequence[int]) -> Callable[[Sequence[float]], Sequence[float]]:
    def pick(values: Sequence[float]) -> Sequence[float]:
        return [values[index] for index in order]

    return pick


def _width(kind: str) -> int:
    return 2 if has_timestamps(kind) else 1


def _cells(parts: Sequence[Part]) -> int:
    return sum(_width(part.kind) * len(part.layout.series) for part in parts)
