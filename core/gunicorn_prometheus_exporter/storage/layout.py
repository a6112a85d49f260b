"""The bytes of an arena: those of prometheus_client's `.db` files, so that stock readers work too.

    int32 used, int32 generation, then entries until byte `used`:
    int32 length of the key, key, spaces up to a multiple of 8, double value, double timestamp

Entries are only ever appended. An arena that is made anew in the same place gets another generation
(prometheus_client leaves these four bytes 0 and never reads them).

The key is the JSON list `[family name, sample name, {label: value}, help]`. Histogram buckets are
not cumulative and there is no `_count` sample: readers derive both.
Source: prometheus_client.mmap_dict, versions 0.12 to 0.26.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

FIRST = 8
"""The offset of the first entry, and the value of `used` in an arena without entries."""

MAX_KEY = 1 << 20
"""Bytes of the longest key that a reader believes."""

_INT32 = struct.Struct("i")
_HEAD = struct.Struct("ii")


def format_float(value: float) -> str:
    """Return `value` as Go writes it, which is how bucket bounds are labelled.

    Source: prometheus_client.utils.floatToGoString.
    """
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    text = repr(float(value))
    dot = text.find(".")
    if value > 0 and dot > 6:
        mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{mantissa}e+0{dot - 1}"
    return text


class CorruptArenaError(ValueError):
    """The bytes are not those of an arena."""


class Series(NamedTuple):
    """What identifies one sample of a metric."""

    family: str
    sample: str
    labels: tuple[tuple[str, str], ...]
    help: str


def encode_key(family: str, sample: str, labels: Mapping[str, str], help_text: str) -> bytes:
    """Return the key of a sample, byte for byte as prometheus_client writes it."""
    return json.dumps([family, sample, dict(labels), help_text], sort_keys=True).encode()


def decode_key(key: bytes) -> Series:
    """Return what `key` stands for; raises CorruptArenaError for anything that is not a key."""
    try:
        family, sample, labels, help_text = json.loads(key)
        pairs = tuple(sorted(labels.items()))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptArenaError(f"not a key: {key[:80]!r}") from error
    strings = (family, sample, help_text, *(part for pair in pairs for part in pair))
    if not all(isinstance(part, str) for part in strings):
        raise CorruptArenaError(f"not a key of strings: {key[:80]!r}")
    return Series(family, sample, pairs, help_text)


def encode_entry(key: bytes) -> bytes:
    """Return the entry of `key` with value and timestamp 0."""
    padding = 8 - (len(key) + 4) % 8
    return _INT32.pack(len(key)) + key + b" " * padding + bytes(16)


def entries(data: bytes | memoryview, start: int, used: int) -> Iterator[tuple[bytes, int]]:
    """Yield the key of each entry between the offsets `start` and `used`, with the value's offset.

    Raises CorruptArenaError where the bytes make no sense.
    """
    position = start
    while position < used:
        if position + 4 > used:
            raise CorruptArenaError("an entry is cut off")
        (length,) = _INT32.unpack_from(data, position)
        value = position + 4 + length + 8 - (length + 4) % 8
        if not 0 < length <= MAX_KEY or value + 16 > used:
            raise CorruptArenaError("an entry has an impossible length")
        yield bytes(data[position + 4 : position + 4 + length]), value
        position = value + 16


def encode_head(generation: int) -> bytes:
    """Return the first bytes of an arena without entries."""
    return _HEAD.pack(FIRST, generation & 0x7FFFFFFF)


def read_generation(data: bytes | memoryview) -> int:
    """Return the generation of the arena that starts with `data`."""
    return int(_HEAD.unpack_from(data, 0)[1])


def read_head(data: bytes | memoryview, size: int) -> tuple[int, int]:
    """Return where the last entry ends, and the generation, of an arena of `size` bytes.

    Raises CorruptArenaError if the first bytes of the arena, `data`, are not such.
    """
    if len(data) < FIRST:
        raise CorruptArenaError("too short to be an arena")
    used, generation = _HEAD.unpack_from(data, 0)
    if used == 0:
        return FIRST, generation
    if used % 8 or not FIRST <= used <= size:
        raise CorruptArenaError(f"its length field says {used}, it has {size} bytes")
    return used, generation


def read_used(data: bytes | memoryview) -> int:
    """Return the offset of the end of the last entry; raises CorruptArenaError if it cannot be."""
    return read_head(data, len(data))[0]
