"""Gunicorn instances that share a real Redis: each shows all of them, and their sums are exact."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.http import request
from tests.support.redis import RedisServer, running_redis
from tests.support.samples import Samples
from tests.support.waiting import wait_until

REQUESTS = "gunicorn_requests_total"
WORKER_REQUESTS = "gunicorn_worker_requests_total"
FAST = {"GUNICORN_PROMETHEUS_REDIS_INTERVAL": "0.1"}
SILENT = {"GUNICORN_PROMETHEUS_REDIS_INTERVAL": "3600"}
"""Publishes when it starts and ends, and when it is scraped."""


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    with running_redis() as server:
        yield server


def named(redis_server: RedisServer, name: str, **more: str) -> dict[str, str]:
    """Return the environment of the instance `name`."""
    return {**redis_server.env, **FAST, "GUNICORN_PROMETHEUS_REDIS_INSTANCE": name, **more}


def hit(server: Gunicorn, times: int, path: str = "/hello") -> None:
    """Send `times` requests."""
    for _ in range(times):
        server.get(path)


def wait_for(server: Gunicorn, condition: Callable[[Samples], bool]) -> Samples:
    """Wait until a scrape of `server` meets `condition`; return that scrape."""

    def scraped() -> Samples | None:
        samples = server.metrics()
        return samples if condition(samples) else None

    found = wait_until(scraped, message="the wanted scrape")
    assert found is not None
    return found


def wait_total(server: Gunicorn, total: float) -> Samples:
    """Wait until `server` shows `total` requests; return that scrape. It must never show more."""

    def is_complete(samples: Samples) -> bool:
        assert samples.sum(REQUESTS) <= total
        return samples.sum(REQUESTS) == total

    return wait_for(server, is_complete)


def test_two_instances_show_their_sum_and_each_itself(redis_server: RedisServer) -> None:
    """Also after one of them has gone: its totals stay, its gauges go, its worker ids are kept."""
    env = named(redis_server, "left", GUNICORN_PROMETHEUS_REDIS_LIVE_SECONDS="1")
    with running_gunicorn(env=env) as left:
        with running_gunicorn(env=named(redis_server, "right")) as right:
            hit(left, 7)
            hit(right, 5)
            hit(right, 2, "/raise/before")
            both = wait_total(left, 14)
            alone = right.metrics("/metrics/instance")
            wait_total(right, 14)

            assert both.sum(WORKER_REQUESTS) == 14
            assert both.label_values(WORKER_REQUESTS, "worker_id") == {
                "left:0", "left:1", "right:0", "right:1",
            }  # fmt: skip
            assert both.value("gunicorn_workers") == 4
            assert both.value("gunicorn_exporter_redis_up") == 1
            assert both.value("gunicorn_exporter_redis_instances", state="live") == 2
            assert alone.sum(REQUESTS) == alone.sum(WORKER_REQUESTS) == 7
            assert alone.label_values(WORKER_REQUESTS, "worker_id") == {"0", "1"}
            assert alone.value("gunicorn_workers") == 2
            hit(right, 1)  # a moment before the end: the last publication has it
        wait_total(left, 15)
        gone = wait_for(
            left, lambda one: one.value("gunicorn_exporter_redis_instances", state="gone") == 1
        )

    assert gone.sum(REQUESTS) == gone.sum(WORKER_REQUESTS) == 15
    assert gone.value("gunicorn_workers") == 2
    assert gone.value("gunicorn_exporter_redis_instances", state="live") == 1
    assert gone.series(WORKER_REQUESTS, worker_id="right:0")


def test_an_applications_own_metrics_are_shared_in_every_mode(redis_server: RedisServer) -> None:
    app = "tests.support.metrics_app:app"
    with (
        running_gunicorn(app, workers=1, env=named(redis_server, "a")) as one,
        running_gunicorn(app, workers=1, env=named(redis_server, "b")) as two,
    ):
        one.get("/gauge/3")
        two.get("/gauge/5")
        samples = wait_for(one, lambda found: found.sum("shop_orders_total") == 2)

    gauges = {name: samples.series(name) for name in samples.names() if name.endswith("_items")}
    values = {
        name.removeprefix("shop_").removesuffix("_items"): {
            one.labels.get("pid", ""): one.value for one in found
        }
        for name, found in gauges.items()
    }
    each = {"a:0": 3.0, "b:0": 5.0}
    assert values == {
        "all": each, "liveall": each,
        "min": {"": 3.0}, "livemin": {"": 3.0}, "max": {"": 5.0}, "livemax": {"": 5.0},
        "sum": {"": 8.0}, "livesum": {"": 8.0},
        "mostrecent": {"": 5.0}, "livemostrecent": {"": 5.0},
    }  # fmt: skip
    assert samples.value("shop_basket_items_bucket", le="5.0") == 2
    assert samples.value("shop_basket_items_sum") == 6
    assert samples.value("shop_picking_seconds_count") == 2
    assert samples.value("shop_loads_total") == 2


def test_requests_send_no_command_and_a_scrape_at_most_two(redis_server: RedisServer) -> None:
    with running_gunicorn(env={**redis_server.env, **SILENT}) as server:
        server.metrics()
        before = commands(redis_server)
        hit(server, 1000)
        after_requests = commands(redis_server)
        for _ in range(10):
            server.metrics()
        after_scrapes = commands(redis_server)
        with contextlib.closing(redis_server.client(decode_responses=True)) as client:
            keys = set(client.keys("*"))

    assert after_requests - before == 0
    # The first scrape after new series also brings their names.
    assert after_scrapes - after_requests <= 2 * 10
    assert keys == {
        "gunicorn:{default}:metric:snapshots",
        "gunicorn:{default}:meta:schemas",
    }


def commands(redis_server: RedisServer) -> int:
    """Return how many commands clients have sent, but for those that tests send."""
    with contextlib.closing(redis_server.client()) as client:
        stats = client.info("commandstats")
    inside = {"time", "hget", "hset", "hsetnx", "hexists", "hlen", "hgetall", "pexpire"}
    ours = {"info", "hello", "client|setinfo", "client", "select", "ping", "keys"}
    names = {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
    return sum(calls for name, calls in names.items() if name not in inside | ours)


def test_a_central_exporter_shows_all_and_counts_nothing_itself(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Without any gunicorn; while a SIDECAR gunicorn binds no port."""
    env = named(redis_server, "shop", GUNICORN_PROMETHEUS_SIDECAR="true")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "gunicorn_prometheus_exporter.exporter.cli", "serve"]
    command += ["--redis", redis_server.url, "--port", "0", "--bind", "127.0.0.1"]
    with running_gunicorn(env=env, expect_metrics=False) as gunicorn, log.open("wb") as stderr:
        central = subprocess.Popen(command, stderr=stderr, env={**os.environ, **FAST})
        try:
            wait_until(lambda: "/metrics" in log.read_text(), message="the central exporter")
            port = int(log.read_text().rpartition(":")[2].partition("/")[0])
            hit(gunicorn, 9)

            def scraped() -> Samples | None:
                found = Samples(request(("127.0.0.1", port), "/metrics").text)
                return found if found.sum(REQUESTS) == 9 else None

            samples = wait_until(scraped, message="9 requests")
            instance = request(("127.0.0.1", port), "/metrics/instance")
        finally:
            central.send_signal(signal.SIGTERM)
            code = central.wait(20)
        text = gunicorn.log_text()

    assert samples is not None
    assert samples.label_values(WORKER_REQUESTS, "worker_id") == {"shop:0", "shop:1"}
    assert samples.value("gunicorn_workers") == 2
    assert samples.value("gunicorn_exporter_redis_instances", state="live") == 1
    assert instance.status == 404
    assert code == 0
    assert "Prometheus metrics on" not in text


def test_redis_mode_writes_no_file(redis_server: RedisServer, tmp_path: Path) -> None:
    """Neither where the metrics would be, nor in the folder that is shared memory."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    before = {path.name for path in Path("/dev/shm").iterdir()}
    env = {**redis_server.env, **FAST, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    with running_gunicorn(env=env) as server:
        hit(server, 3)
        wait_total(server, 3)
        found = server.storage_folders()
        ours = {path.name for path in Path("/dev/shm").iterdir()} - before

    assert list(folder.iterdir()) == []
    assert not found
    assert not {name for name in ours if server.folder.name in name}
