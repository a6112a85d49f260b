"""Whatever happens to Redis, requests do not notice, scrapes are answered, and totals are exact.

Two gunicorns and the totals of a third one, which has gone, share a Redis through a proxy. Each
test breaks something, works on meanwhile, and then expects every request to be counted, everywhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gunicorn_prometheus_exporter.redis.shared import central
from gunicorn_prometheus_exporter.settings import Settings
from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.proxy import Proxy, proxied
from tests.support.redis import RedisServer, running_redis
from tests.support.samples import Samples
from tests.support.waiting import wait_until

REQUESTS = "gunicorn_requests_total"
UP = "gunicorn_exporter_redis_up"
TIMEOUT = 0.5
SLACK = 1.0
"""Seconds that a loaded machine may add to what is measured here."""


@dataclass
class Shop:
    """Two instances of one application, and what they must have counted."""

    redis: RedisServer
    proxy: Proxy
    left: Gunicorn
    right: Gunicorn
    total: int

    def work(self, times: int = 20) -> None:
        """Send requests to both instances; each is answered as if there were no Redis."""
        for server in (self.left, self.right):
            for _ in range(times):
                started = time.monotonic()
                assert server.get("/hello").status == 200
                assert time.monotonic() - started < SLACK
                self.total += 1

    def scrape(self, server: Gunicorn) -> Samples:
        """Return a scrape, which must not take longer than Redis's time-out."""
        started = time.monotonic()
        samples = server.metrics()
        assert time.monotonic() - started < TIMEOUT + SLACK
        return samples

    def expect_exact_totals(self) -> None:
        """Wait until both instances, and a process that knows nothing yet, show all requests."""
        wanted = f"{self.total} requests"
        wait_until(lambda: self._is_exact(self.scrape(self.left)), message=wanted)
        wait_until(lambda: self._is_exact(self.scrape(self.right)), message=wanted)
        wait_until(lambda: self._is_exact(self.in_redis()), message=wanted)

    def _is_exact(self, samples: Samples) -> bool:
        assert samples.sum(REQUESTS) <= self.total
        return samples.sum(REQUESTS) == self.total and samples.value(UP) == 1

    def in_redis(self) -> Samples:
        """Return what a central exporter shows that has just been started."""
        source, shared = central(Settings(redis_enabled=True, redis_port=self.redis.port))
        shared.start()
        try:
            text = shared.render(openmetrics=False, names=frozenset())
        finally:
            shared.stop(5)
        assert source.local_blocks() is not None
        return Samples(text.decode())

    def expect_down(self, server: Gunicorn) -> Samples:
        """Wait until `server` says that Redis is away; return that scrape."""
        seen = []

        def is_down() -> bool:
            seen.append(self.scrape(server))
            return seen[-1].value(UP) == 0

        wait_until(is_down, message="Redis to be called away")
        return seen[-1]


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """Both instances running, and 5 requests counted by one that has gone."""
    with running_redis() as redis, proxied(redis.port) as proxy:
        env = {
            "REDIS_ENABLED": "true",
            "REDIS_PORT": str(proxy.port),
            "GUNICORN_PROMETHEUS_REDIS_INTERVAL": "0.1",
            "GUNICORN_PROMETHEUS_REDIS_TIMEOUT": str(TIMEOUT),
            "GUNICORN_PROMETHEUS_REDIS_LIVE_SECONDS": "1",
        }
        with running_gunicorn(env=env) as gone:
            for _ in range(5):
                gone.get("/hello")
        with running_gunicorn(env=env) as left, running_gunicorn(env=env) as right:
            yield Shop(redis, proxy, left, right, 5)


@contextlib.contextmanager
def hung(shop: Shop) -> Iterator[None]:
    """Redis takes connections and says nothing."""
    with shop.redis.frozen():
        yield


@contextlib.contextmanager
def refused(shop: Shop) -> Iterator[None]:
    """Nobody listens; afterwards Redis is empty."""
    shop.redis.stop(signal.SIGKILL)
    try:
        yield
    finally:
        shop.redis.start()


@contextlib.contextmanager
def partitioned(shop: Shop) -> Iterator[None]:
    """What is sent disappears."""
    shop.proxy.partitioned = True
    try:
        yield
    finally:
        shop.proxy.partitioned = False


@contextlib.contextmanager
def out_of_memory(shop: Shop) -> Iterator[None]:
    """Redis refuses whatever would take memory."""
    with admin(shop) as client:
        client.config_set("maxmemory", "1")
        yield
        client.config_set("maxmemory", "0")


@contextlib.contextmanager
def wrong_password(shop: Shop) -> Iterator[None]:
    """Redis wants a password from whoever connects."""
    with admin(shop) as client:
        client.config_set("requirepass", "changed")
        client.client_kill_filter(_type="normal", skipme=True)
        yield
        client.config_set("requirepass", "")


@contextlib.contextmanager
def read_only(shop: Shop) -> Iterator[None]:
    """Redis has become a replica, of a master that it cannot reach."""
    with admin(shop) as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


@contextlib.contextmanager
def admin(shop: Shop) -> Iterator[Any]:
    """Yield a client with one connection, which goes past the proxy."""
    with contextlib.closing(shop.redis.client(single_connection_client=True)) as client:
        client.ping()
        yield client


FAULTS = [hung, refused, partitioned, out_of_memory, wrong_password, read_only]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_costs_no_request_and_no_count(
    shop: Shop, fault: Callable[[Shop], contextlib.AbstractContextManager[None]]
) -> None:
    """Also where the exporter, and a worker, are killed in the middle of it."""
    shop.work()
    shop.expect_exact_totals()
    known = shop.total
    with fault(shop):
        down = shop.expect_down(shop.right)
        shop.work()
        # Its own requests at once, and those of the others as they were.
        wait_until(lambda: shop.scrape(shop.right).sum(REQUESTS) == known + 20)
        later = shop.scrape(shop.right)
        kill(shop.left, shop.left.exporter_pids)
        kill(shop.left, lambda: shop.left.worker_pids()[:1])
        shop.work()
        assert down.sum(REQUESTS) == known
        assert later.value("gunicorn_exporter_redis_errors_total") > 0
        age = time.time() - later.value("gunicorn_exporter_redis_last_success_timestamp_seconds")
        assert 0 < age < 60
    shop.expect_exact_totals()
    # An exporter that is killed again and again is started again more and more slowly.
    shop.left, shop.right = shop.right, shop.left


def kill(server: Gunicorn, pids: Callable[[], list[int]]) -> None:
    """Kill processes and wait until others have taken their place."""
    before = pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(pids()) >= len(before) and not set(pids()) & set(before))


def test_a_slow_redis_only_makes_scrapes_slower(shop: Shop) -> None:
    """With 200 ms for each answer, within the time-out."""
    shop.proxy.delay = 0.2
    try:
        shop.work()
        shop.expect_exact_totals()
        assert shop.scrape(shop.left).value(UP) == 1
    finally:
        shop.proxy.delay = 0.0


def test_flushing_under_load_loses_nothing(shop: Shop) -> None:
    """Not even the totals of the instance that has gone: who has seen them gives them back."""
    shop.expect_exact_totals()
    stop = threading.Event()
    lows: list[float] = []

    def scrape_on() -> None:
        while not stop.is_set():
            lows.append(shop.left.metrics().sum(REQUESTS))

    thread = threading.Thread(target=scrape_on)
    thread.start()
    with contextlib.closing(shop.redis.client()) as admin:
        for _ in range(10):
            shop.work(5)
            admin.flushall()
    stop.set()
    thread.join()

    shop.expect_exact_totals()
    assert lows == sorted(lows), "a total fell"


def test_nothing_but_one_line_is_logged_of_a_fault_and_no_password(shop: Shop) -> None:
    text = shop.left.log_text() + shop.right.log_text()

    assert "cannot be used: it does not answer in time" in text
    assert "Traceback" not in text
    assert 0 < text.count("cannot be used") < 3 * len(FAULTS)


def test_a_killed_master_leaves_every_request_counted() -> None:
    """Its exporter outlives it until its last worker has gone, and publishes what that counted."""
    env = {"GUNICORN_PROMETHEUS_REDIS_INTERVAL": "3600"}
    with running_redis() as redis:
        with running_gunicorn(workers=1, env={**redis.env, **env}, args=["-t", "4"]) as server:
            slow = threading.Thread(target=server.get, args=("/slow?seconds=1.5",))
            for _ in range(7):
                server.get("/hello")
            slow.start()
            wait_until(
                lambda: server.metrics().sum("gunicorn_worker_requests_in_progress") == 1,
                message="the slow request to arrive",
            )
            server.signal(signal.SIGKILL)
            server.wait_end()
            slow.join()
            server.assert_nothing_left(20)
        source, shared = central(Settings(redis_enabled=True, redis_port=redis.port))
        shared.start()
        found = Samples(shared.render(openmetrics=False, names=frozenset()).decode())
        shared.stop(5)

    assert source.local_blocks() is not None
    assert found.sum(REQUESTS) == 8
