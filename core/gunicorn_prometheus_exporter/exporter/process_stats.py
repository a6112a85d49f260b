"""Samples the worker processes: their state from their slots, their resources from /proc."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from gunicorn_prometheus_exporter import metrics as m
from gunicorn_prometheus_exporter.exporter.proc import (
    AVAILABLE,
    ProcessStats,
    open_fds,
    process_stats,
)
from gunicorn_prometheus_exporter.exporter.rows import Row, row, synthetic_block
from gunicorn_prometheus_exporter.storage.blocks import Block
from gunicorn_prometheus_exporter.storage.contract import Volume
from gunicorn_prometheus_exporter.storage.header import MAGIC, Field, Header, State
from gunicorn_prometheus_exporter.storage.locks import is_locked

GAUGE = "gauge_livesum"
"""The kind of gauges made at scrape time: those of an instance that is gone are not shown."""

OWNER = "exporter"
"""Whose the blocks are that are made at scrape time."""

_SHORTEST = 0.5
"""Seconds below which the CPU clock, at 100 ticks a second, is too coarse for a percentage."""


class _Usage(NamedTuple):
    """The CPU seconds of a process at a moment of the monotonic clock, and the percentage shown."""

    pid: int
    cpu: float
    at: float
    percent: float


class WorkerSampler:
    """Samples the workers of `volume`. Not safe for concurrent use."""

    def __init__(self, volume: Volume) -> None:
        """Prepare to sample; nothing is opened before `blocks()`."""
        self._volume = volume
        self._usage: dict[str, _Usage] = {}

    def blocks(self) -> list[Block]:
        """Return the samples of all worker slots that were ever claimed; raises nothing."""
        gauges: list[Row] = []
        counters: list[Row] = []
        alive = 0
        for slot in self._slots():
            try:
                with _open_slot(self._volume, slot) as (header, live):
                    alive += live
                    stats = process_stats(int(header[Field.PID])) if live else None
                    gauges += self._gauges(slot, header, live, stats)
                    if AVAILABLE:
                        counters.append(row(m.WORKER_CPU_SECONDS, _cpu_total(header, stats), slot))
            except (OSError, ValueError):  # vanished, or never claimed
                continue
        gauges.append(row(m.WORKERS, alive))
        return [
            synthetic_block(GAUGE, OWNER, gauges),
            synthetic_block("counter", OWNER, counters),
        ]

    def _slots(self) -> list[str]:
        try:
            return [slot for slot in self._volume.slots() if slot.isdigit()]
        except OSError:
            return []

    def _gauges(
        self, slot: str, header: Header, live: bool, stats: ProcessStats | None
    ) -> Iterator[Row]:
        state = _state(header) if live else State.STOPPED
        since = str(int(header[Field.STATE_SINCE]))
        yield row(m.WORKER_STATE, state is State.RUNNING, slot, state.name.lower(), since)
        if not live:
            self._usage.pop(slot, None)
            return
        uptime = max(time.time() - header[Field.STARTED], 0.0)
        yield row(m.WORKER_UPTIME, uptime, slot)
        if stats is None:
            return
        yield row(m.WORKER_MEMORY, stats.memory, slot)
        yield row(m.WORKER_THREADS, stats.threads, slot)
        yield row(m.WORKER_CPU_PERCENT, self._cpu_percent(slot, stats, uptime), slot)
        fds = open_fds(stats.pid)
        if fds is not None:
            yield row(m.WORKER_OPEN_FDS, fds, slot)

    def _cpu_percent(self, slot: str, stats: ProcessStats, uptime: float) -> float:
        """Return the CPU use since the sample before, or since the start for the first one."""
        now = time.monotonic()
        before = self._usage.get(slot)
        if before is None or before.pid != stats.pid or before.cpu > stats.cpu_seconds:
            used, elapsed = stats.cpu_seconds, uptime
        else:
            used, elapsed = stats.cpu_seconds - before.cpu, now - before.at
            if elapsed < _SHORTEST:
                return before.percent
        percent = 100 * used / elapsed if elapsed > 0 else 0.0
        self._usage[slot] = _Usage(stats.pid, stats.cpu_seconds, now, percent)
        return percent


@contextlib.contextmanager
def _open_slot(volume: Volume, slot: str) -> Iterator[tuple[Header, bool]]:
    """Yield the header of `slot`, and whether its owner lives; raises ValueError if it has none."""
    region = volume.open_header(slot, create=False)
    try:
        with contextlib.closing(Header(region)) as header:
            if header[Field.MAGIC] != MAGIC or not all(math.isfinite(header[f]) for f in Field):
                raise ValueError(f"the slot {slot} was never claimed")
            yield header, is_locked(region)
    finally:
        os.close(region.fd)


def _state(header: Header) -> State:
    try:
        return State(int(header[Field.STATE]))
    except ValueError:  # of a newer version
        return State.BOOTING


def _cpu_total(header: Header, stats: ProcessStats | None) -> float:
    """Return the CPU seconds of the slot's owners so far, and keep them in its header.

    Written so that the sum never falls, wherever this process is killed in between.
    """
    if stats is not None:
        if header[Field.CPU_PID] != stats.pid or stats.cpu_seconds < header[Field.CPU_SEEN]:
            header[Field.CPU_BASE] += header[Field.CPU_SEEN]
            header[Field.CPU_SEEN] = 0.0
            header[Field.CPU_PID] = stats.pid
        header[Field.CPU_SEEN] = stats.cpu_seconds
    return header[Field.CPU_BASE] + header[Field.CPU_SEEN]
