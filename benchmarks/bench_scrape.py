"""Compares a scrape with `MultiProcessCollector` + `generate_latest` of prometheus_client.

    python benchmarks/bench_scrape.py

Both sides read what the same number of workers wrote, in turns, after every value has changed (or,
in the second column, one in a hundred). Dead workers leave files of their own to prometheus_client;
here their slots are used again, so that there is nothing of them to read.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gunicorn_prometheus_exporter.exporter.exposition import Exposition
from gunicorn_prometheus_exporter.storage.files import FileVolume
from gunicorn_prometheus_exporter.storage.layout import FIRST, encode_entry, encode_head, encode_key
from gunicorn_prometheus_exporter.storage.reader import Reader
from gunicorn_prometheus_exporter.storage.slots import claim

BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "+Inf")


class Setup(NamedTuple):
    live: int
    dead: int
    series: int
    rounds: int


SETUPS = (Setup(4, 0, 500, 15), Setup(16, 0, 2000, 7), Setup(16, 500, 200, 5))


class Arena:
    """A file as a worker writes it, all of whose values can be changed."""

    def __init__(self, path: str, keys: list[bytes]) -> None:
        data = bytearray(encode_head(0))
        self._cells: list[tuple[int, float]] = []
        for key in keys:
            data += encode_entry(key)
            is_sum = b'_sum"' in key
            self._cells.append((len(data) - 16, 1 / 1024 if is_sum else 1.0))
        struct.pack_into("i", data, 0, len(data))
        with open(path, "wb") as file:
            file.write(data)
        self._path = path

    def change(self, share: float) -> None:
        """Increase that share of the values: counts by whole numbers, sums by fractions.

        The fractions are such that the order in which they are added does not matter.
        """
        with open(self._path, "r+b") as file:
            data = bytearray(file.read())
            for offset, unit in random.sample(self._cells, max(1, int(share * len(self._cells)))):
                (value,) = struct.unpack_from("d", data, offset)
                struct.pack_into("d", data, offset, value + random.randrange(1, 4096) * unit)
            file.seek(FIRST)
            file.write(data[FIRST:])


def counter_keys(count: int) -> Iterator[bytes]:
    for i in range(count):
        labels = {"method": "GET", "endpoint": f"/api/v1/resource{i}/<int:id>", "status": "200"}
        yield encode_key("app_requests", "app_requests_total", labels, "Requests answered.")


def histogram_keys(count: int) -> Iterator[list[bytes]]:
    """Yield the keys of histograms, eleven each, no more than `count` together."""
    name = "app_request_duration_seconds"
    for i in range(count // (len(BOUNDS) + 1)):
        labels = {"method": "GET", "endpoint": f"/api/v1/resource{i}/<int:id>"}
        yield [
            encode_key(name, f"{name}_sum", labels, "Time to answer."),
            *(
                encode_key(name, f"{name}_bucket", {**labels, "le": bound}, "Time to answer.")
                for bound in BOUNDS
            ),
        ]


def write(folder: str, workers: int, series: int) -> list[Arena]:
    """Write what `workers` workers leave: the same series, each in the order it met them."""
    arenas = []
    histograms = list(histogram_keys(series * 6 // 10))
    counters = list(counter_keys(series - len(histograms) * (len(BOUNDS) + 1)))
    for worker in range(workers):
        random.shuffle(counters)
        random.shuffle(histograms)
        arenas.append(Arena(f"{folder}/counter_{worker}.db", counters))
        arenas.append(Arena(f"{folder}/histogram_{worker}.db", list(itertools.chain(*histograms))))
    for arena in arenas:
        arena.change(1.0)
    return arenas


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def stock(folder: str) -> bytes:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    return generate_latest(registry)


class Result(NamedTuple):
    """Median seconds of a scrape."""

    stock: float
    all_changed: float
    few_changed: float


def measure(setup: Setup, root: str) -> Result:
    theirs, ours = f"{root}/stock", f"{root}/ours"
    os.makedirs(theirs)
    os.makedirs(ours)
    write(theirs, setup.live + setup.dead, setup.series)
    arenas = write(ours, setup.live, setup.series)
    volume = FileVolume(ours)
    slots = [claim(volume, "worker") for _ in range(setup.live)]
    reader, exposition = Reader(volume), Exposition()

    def scrape() -> bytes:
        return exposition.render(reader.read(), openmetrics=False, names=frozenset())

    scrape()
    check(scrape(), stock(ours))
    times: list[tuple[float, float, float]] = []
    for _ in range(setup.rounds):
        old = seconds(lambda: stock(theirs))
        for arena in arenas:
            arena.change(1.0)
        every = seconds(scrape)
        for arena in arenas:
            arena.change(0.01)
        times.append((old, every, seconds(scrape)))
    for slot in slots:
        slot.release()
    return Result(*(statistics.median(column) for column in zip(*times, strict=True)))


def check(ours: bytes, theirs: bytes) -> None:
    """Make sure that what is compared is the same."""
    if sorted(ours.splitlines()) != sorted(theirs.splitlines()):
        raise SystemExit("the two expositions differ")


def main() -> None:
    """Measure all setups and print a line for each."""
    random.seed(1)
    print(f"{'milliseconds (median)':<34}{'stock':>8}{'all changed':>13}{'':8}{'1% changed':>13}")
    shm = "/dev/shm" if os.path.isdir("/dev/shm") else None
    for setup in SETUPS:
        with tempfile.TemporaryDirectory(dir=shm) as root:
            result = measure(setup, root)
        name = f"{setup.live} live + {setup.dead} dead x {setup.series} series"
        figures = "".join(
            f"{seconds * 1e3:>13.2f} {result.stock / seconds:>6.0f}x"
            for seconds in (result.all_changed, result.few_changed)
        )
        print(f"{name:<34}{result.stock * 1e3:>8.1f}{figures}")


if __name__ == "__main__":
    main()
