"""What a scrape, or the files that a gunicorn left, say of the workers that ended."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from tests.support.gunicorn import Gunicorn
from tests.support.processes import mapped_files
from tests.support.samples import Samples

BY_MASTER = "gunicorn_master_worker_restart_count_total"
BY_KIND = "gunicorn_worker_restart_count_total"
BY_REASON = "gunicorn_worker_restart_total"
SIGNALS = "gunicorn_master_worker_restart_total"

Exits = dict[tuple[str, str], int]
"""How many workers ended, by reason and kind of restart."""


def exits(metrics: Samples) -> Exits:
    """Return the exits in `metrics`, whose three families must agree for each worker."""
    by_master = _counts(metrics, BY_MASTER, "worker_id", "reason", "restart_type")
    assert _counts(metrics, BY_KIND, "worker_id", "reason", "restart_type") == by_master
    by_reason = _counts(metrics, BY_REASON, "worker_id", "reason")
    assert _sums(by_master, 0, 1) == _sums(by_reason, 0, 1)
    return {(reason, kind): count for (reason, kind), count in _sums(by_master, 1, 2).items()}


def wait_exits(server: Gunicorn, expected: Exits) -> Samples:
    """Return the first scrape with as many exits as expected, which must be those exits."""
    metrics = server.wait_sum(BY_MASTER, sum(expected.values()))
    found = exits(metrics)
    assert found == expected, found
    return metrics


def signals(metrics: Samples) -> dict[str, int]:
    """Return how often each signal was handled, without those that never were."""
    return {one.labels["reason"]: int(one.value) for one in metrics.series(SIGNALS) if one.value}


def slot_of(pid: int) -> str:
    """Return the slot of the worker `pid`, which is its worker id."""
    names = {path.name for path in mapped_files(pid)}
    [slot] = [name.split("-")[1].split(".")[0] for name in names if name.startswith("slot-")]
    return slot


def left_in(directory: Path) -> Samples:
    """Return what prometheus_client itself makes of the files in `directory`."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return Samples(generate_latest(registry).decode())


def _counts(metrics: Samples, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    found = metrics.series(name)
    return Counter({tuple(one.labels[label] for label in labels): int(one.value) for one in found})


def _sums(counts: Counter[tuple[str, ...]], *fields: int) -> Counter[tuple[str, ...]]:
    sums: Counter[tuple[str, ...]] = Counter()
    for key, count in counts.items():
        sums[tuple(key[field] for field in fields)] += count
    return sums
