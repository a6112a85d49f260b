"""What dead processes leave behind in gauges: one sample per series instead of one per process.

Counters, histograms and summaries need none of this: the next owner of a slot goes on counting in
them. A gauge of a mode that outlives its process (min, max, sum, mostrecent) is folded into the
archive when its slot is claimed again; live gauges, and `all`, end with their process.
"""

from __future__ import annotations

import os
import struct
import time

from gunicorn_prometheus_exporter.storage.arena import Arena, At, NoSpaceError, read_arena
from gunicorn_prometheus_exporter.storage.contract import (
    ARCHIVE,
    GAUGE_MODES,
    ArenaName,
    Region,
    Volume,
)
from gunicorn_prometheus_exporter.storage.layout import FIRST, CorruptArenaError, entries
from gunicorn_prometheus_exporter.storage.locks import try_lock

Sample = tuple[float, float]
"""A value and its timestamp."""

_FOLDED_MODES = ("min", "max", "sum", "mostrecent")
_PATIENCE = 1.0


def retire_gauges(volume: Volume, slot: str, max_series: int) -> None:
    """Remove the gauges that the former owner of `slot` left, folding those that outlive it."""
    for mode in GAUGE_MODES:
        name = ArenaName(f"gauge_{mode}", slot)
        samples = _take(volume, name, keep=mode in _FOLDED_MODES)
        if samples:
            _fold(volume, name.kind, mode, samples, max_series)


def _take(volume: Volume, name: ArenaName, *, keep: bool) -> dict[bytes, Sample]:
    """Delete an arena, then return what was in it: a crash loses it rather than doubles it."""
    try:
        region = volume.open_arena(name)
    except FileNotFoundError:
        return {}
    try:
        samples = _samples(region) if keep else {}
    finally:
        os.close(region.fd)
    volume.delete_arena(name)
    return samples


def _samples(region: Region) -> dict[bytes, Sample]:
    try:
        data = read_arena(region)
        return {
            key: struct.unpack_from("dd", data, value)
            for key, value in entries(data, FIRST, len(data))
        }
    except CorruptArenaError:
        return {}


def _fold(
    volume: Volume, kind: str, mode: str, samples: dict[bytes, Sample], max_series: int
) -> None:
    region = volume.open_header(ARCHIVE, create=True)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not try_lock(region):
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        archive = Arena(volume, ArenaName(kind, ARCHIVE))
        try:
            _add(archive, mode, samples, max_series)
        finally:
            archive.close()
    except NoSpaceError:
        return
    finally:
        os.close(region.fd)


def _add(archive: Arena, mode: str, samples: dict[bytes, Sample], max_series: int) -> None:
    new: dict[bytes, Sample] = {}
    for key, sample in samples.items():
        at = archive.find(key)
        if at is None:
            new[key] = sample
        else:
            _combine(mode, at, sample)
    room = max(0, max_series - len(archive.keys()))
    keys = list(new)[:room]
    archive.append(keys, [new[key] for key in keys])


def _combine(mode: str, at: At, sample: Sample) -> None:
    doubles, index = at
    value, timestamp = sample
    if mode == "sum":
        doubles[index] += value
    elif mode == "mostrecent":
        if timestamp > doubles[index + 1]:
            doubles[index], doubles[index + 1] = value, timestamp
    else:
        doubles[index] = (min if mode == "min" else max)(doubles[index], value)
