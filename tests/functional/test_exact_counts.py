"""Counts stay exact, and files and series few, whatever becomes of the workers.

Clients count what they are answered; the sums that are exposed may differ from that by what was in
hand when a worker was killed, and by nothing else.
"""

from __future__ import annotations

import random
import signal
import string
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.support import clients
from tests.support.counting import (
    EXCEPTIONS,
    IN_PROGRESS,
    REQUESTS,
    WORKER_REQUESTS,
    counted,
    fallen,
    wait_running,
)
from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.load import Load
from tests.support.samples import Samples

KILLS, RELOADS = 20, 3
WORKERS = 3
PATHS = (
    "/hello",
    "/users/17",
    "/status/404",
    "/raise/before",
    "/stream?n=20",
    "/echo",
    "/status/503",
)
COUNTS = (
    REQUESTS,
    WORKER_REQUESTS,
    "gunicorn_request_duration_seconds_count",
    "gunicorn_worker_request_duration_seconds_count",
    "gunicorn_worker_request_size_bytes_count",
    "gunicorn_worker_response_size_bytes_count",
)
RANDOM_REQUESTS = 10_000


class Storm:
    """Kills, reloads and recycling under a mixed load, with a scrape after each of them."""

    def __init__(self, server: Gunicorn, folder: Path) -> None:
        """Begin with what `server` shows now."""
        self._server, self._folder = server, folder
        self.scrape = server.metrics()
        self.most_series = self.most_files = 0

    def run(self, load: Load) -> None:
        """Kill a worker twenty times, and reload in between; no counter may ever fall."""
        for turn in range(KILLS):
            load.wait_answers(15)
            victim = random.choice(self._server.worker_pids())
            self._server.signal(signal.SIGKILL, victim)
            self._server.wait_for(partial(self._is_gone, victim))
            if turn % (KILLS // RELOADS) == 0:
                self._reload(load)
            self.look()

    def _is_gone(self, worker: int) -> bool:
        return worker not in self._server.worker_pids()

    def _reload(self, load: Load) -> None:
        old = self._server.worker_pids()
        self._server.signal(signal.SIGHUP)
        self._server.wait_for(lambda: not set(old) & set(self._server.worker_pids()))
        load.wait_answers(5)

    def look(self) -> None:
        """Compare a scrape with the one before."""
        before, self.scrape = self.scrape, self._server.metrics()
        assert fallen(before, self.scrape) == []
        self.most_series = max(self.most_series, len(our_series(self.scrape)))
        self.most_files = max(self.most_files, len(list(self._folder.iterdir())))


def our_series(samples: Samples) -> list[str]:
    """Return the name of each series of ours."""
    return [one.name for one in samples if one.name.startswith("gunicorn_")]


def test_a_storm_of_kills_reloads_and_recycling_costs_at_most_what_was_in_hand(
    tmp_path: Path,
) -> None:
    config = "max_requests = 40\nmax_requests_jitter = 20"
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with running_gunicorn(workers=WORKERS, config=config, env=env) as server:
        wait_running(server, WORKERS)
        storm = Storm(server, tmp_path)
        with Load(server.address, PATHS) as load:
            storm.run(load)
            load.wait_answers(60)
        wait_running(server, WORKERS)
        server.wait_for(lambda: server.metrics().sum(IN_PROGRESS) == 0)
        storm.look()
        metrics = storm.scrape

        for name in COUNTS:
            assert load.answered - KILLS <= metrics.sum(name) <= load.answered + load.broken, name
        for status, answered in load.statuses.items():
            seen = metrics.sum(REQUESTS, status=status)
            assert answered - KILLS <= seen <= answered + load.broken, status
        failed = metrics.sum(REQUESTS, status="500")
        assert failed - KILLS <= metrics.sum(EXCEPTIONS) <= failed + KILLS
        assert metrics.sum("gunicorn_exporter_recorder_errors_total") == 0

        ends = "gunicorn_master_worker_restart_count_total"
        # A victim may have been about to leave for another reason.
        assert KILLS / 2 <= metrics.sum(ends, reason="sigkill") <= KILLS
        assert metrics.sum(ends, reason="max_requests") > 0
        # While old and new workers overlap there are twice as many slots, each with a few files.
        assert len(metrics.label_values(WORKER_REQUESTS, "worker_id")) <= 2 * WORKERS + 1
        assert storm.most_files <= 6 * (2 * WORKERS + 2)
        assert storm.most_series < 1500


def random_path(chance: random.Random) -> str:
    """Return a path of one to four segments: words, numbers, tokens, and worse."""
    kinds = (
        lambda: "".join(chance.choices(string.ascii_lowercase, k=6)),
        lambda: str(chance.randrange(10**9)),
        lambda: f"{chance.getrandbits(128):032x}",
        lambda: "".join(chance.choices(string.ascii_letters + "%-_.~@", k=12)),
    )
    segments = [chance.choice(kinds)() for _ in range(chance.randint(1, 4))]
    return "/users/" + "/".join(segments)


def send_random_requests(server: Gunicorn, count: int, seed: int) -> Counter[str]:
    """Send requests with random methods, paths and hosts on few connections; count the statuses."""
    chance = random.Random(seed)
    statuses: Counter[str] = Counter()
    with clients.connected(server.address) as client, client.makefile("rb") as answers:
        for _ in range(count):
            method = "".join(chance.choices(string.ascii_uppercase, k=chance.randint(3, 12)))
            host = f"{chance.getrandbits(40):x}.example.com"
            request = f"{method} {random_path(chance)} HTTP/1.1\r\nHost: {host}\r\n\r\n"
            client.sendall(request.encode())
            statuses[answers.readline().split()[1].decode()] += 1
            while (line := answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            answers.read(length)
    return statuses


def flood(server: Gunicorn, count: int) -> None:
    """Send `count` random requests, which are all counted."""
    with counted(server, count) as change, ThreadPoolExecutor(2) as pool:
        parts = pool.map(send_random_requests, [server] * 2, [count // 2] * 2, range(2))
        statuses = sum(parts, Counter[str]())

    assert change.by(REQUESTS, "status") == {(key,): n for key, n in statuses.items()}


@pytest.fixture
def threads() -> dict[str, str]:
    """A worker that keeps connections alive, for many requests in little time."""
    return {
        "worker_class": "gunicorn_prometheus_exporter.PrometheusThreadWorker",
        "config": "threads = 4\nkeepalive = 10",
    }


def test_ten_thousand_random_requests_leave_few_series(threads: dict[str, str]) -> None:
    """Without an adapter there are 200 endpoints at most in each worker, then `<other>`."""
    with running_gunicorn(**threads) as server:
        wait_running(server)
        flood(server, RANDOM_REQUESTS // 2)
        first = server.metrics()
        flood(server, RANDOM_REQUESTS // 2)
        second = server.metrics()

    endpoints = second.label_values(REQUESTS, "endpoint")
    assert len(endpoints) <= 2 * 200 + 1
    assert "<other>" in endpoints
    assert second.label_values(REQUESTS, "method") == {"OTHER"}
    assert len(our_series(second)) - len(our_series(first)) <= 2 * 20
    assert second.sum("gunicorn_exporter_recorder_errors_total") == 0


def test_endpoints_are_not_inferred_where_a_setting_says_so(threads: dict[str, str]) -> None:
    env = {"GUNICORN_PROMETHEUS_INFER_ENDPOINTS": "false"}
    with running_gunicorn(env=env, **threads) as server:
        wait_running(server)
        flood(server, 100)
        server.get("/routed/1")

        labels = server.metrics().label_values(REQUESTS, "endpoint")

    assert labels == {"<unrouted>", "/routed/<name>"}
