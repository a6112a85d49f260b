"""What Redis costs: a publication, a scrape of many instances, and the memory of the server.

    python benchmarks/bench_redis.py [REDIS-SERVER]

Runs a redis-server of its own. Each simulated instance has 4 workers and, in all, 500 series; all
of them publish new values before each scrape, as they would within an interval.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from gunicorn_prometheus_exporter.redis.channel import Channel
from gunicorn_prometheus_exporter.redis.scripts import keys_of
from gunicorn_prometheus_exporter.redis.shared import central
from gunicorn_prometheus_exporter.redis.snapshot import Packer, Snapshot
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.blocks import Block, Layout
from gunicorn_prometheus_exporter.storage.layout import Series

WORKERS, SERIES = 4, 500
COUNTS = (4, 50, 200)
ROUNDS = 10
APP = keys_of("gunicorn", "default")


def layout_of(slot: int) -> Layout:
    """Return the series of one worker: some carry its id, most do not."""
    count = SERIES // WORKERS
    own = [
        Series(f"worker_{n}", f"worker_{n}_total", (("worker_id", str(slot)),), "A counter.")
        for n in range(count // 5)
    ]
    shared = [
        Series("requests", "requests_total", (("endpoint", f"/shop/item/{n}"),), "Requests.")
        for n in range(count - len(own))
    ]
    return Layout((*own, *shared))


LAYOUTS = [layout_of(slot) for slot in range(WORKERS)]


class SimulatedInstance:
    """One gunicorn's exporter, as far as Redis sees it."""

    def __init__(self, number: int, channel: Channel) -> None:
        """Publish as the instance `number` over `channel`."""
        self._number = number
        self._channel = channel
        self._packer = Packer()
        self._sequence = 0

    def publish(self) -> None:
        """Publish values that have all changed."""
        self._sequence += 1
        blocks = [
            Block("counter", str(slot), True, one, [float(self._sequence)] * len(one.series), ())
            for slot, one in enumerate(LAYOUTS)
        ]
        schema, body = self._packer.pack(blocks, f"host-{self._number}")
        snapshot = Snapshot(f"{self._number:032x}", self._sequence, 0, body)
        self._channel.publish([snapshot], [schema] if self._sequence == 1 else [])


@contextmanager
def redis_server(binary: str) -> Iterator[str]:
    """Run a server on a unix socket; yield its URL."""
    folder = Path(tempfile.mkdtemp())
    path = folder / "redis.sock"
    command = [binary, "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            time.sleep(0.01)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def median_ms(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return how long `action` takes, in milliseconds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def measure(url: str, count: int) -> str:
    """Return a row of the table for `count` instances."""
    client = redis.Redis.from_url(url)
    client.flushall()
    empty = client.info("memory")["used_memory"]
    channel = Channel(lambda: redis.Redis.from_url(url), APP, 3600)
    instances = [SimulatedInstance(number, channel) for number in range(count)]
    for one in instances:
        one.publish()
    _, shared = central(Settings(redis_url=url, redis_interval=3600))
    shared.start()

    def scrape() -> bytes:
        return shared.render(openmetrics=False, names=frozenset())

    first = median_ms(scrape, rounds=1)
    scrapes, publications = [], []
    for _ in range(ROUNDS):
        publications += [median_ms(one.publish, rounds=1) for one in instances]
        scrapes.append(median_ms(scrape, rounds=1))
    read = median_ms(channel.read)
    memory = (client.info("memory")["used_memory"] - empty) / count / 1024
    size = len(scrape()) / 1024
    shared.stop(1)
    channel.close()
    client.close()
    return (
        f"| {count} | {statistics.median(publications):.2f} | {first:.0f} "
        f"| {statistics.median(scrapes):.1f} | {read:.1f} | {memory:.1f} | {size:.0f} |"
    )


def main(binary: str) -> None:
    """Print a table."""
    print("| instances | publish, ms | first scrape, ms | scrape, ms | of it Redis, ms |", end="")
    print(" KiB in Redis each | KiB of text |")
    print("|---|---|---|---|---|---|---|")
    with redis_server(binary) as url:
        for count in COUNTS:
            print(measure(url, count), flush=True)


if __name__ == "__main__":
    os.environ.pop("REDIS_URL", None)
    main(sys.argv[1] if len(sys.argv) > 1 else shutil.which("redis-server") or "redis-server")
