"""Where workers are in their life, how many there are, and how long the queue is."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.exits import slot_of
from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.samples import Samples
from tests.support.versions import oldest_and_newest

STATE = "gunicorn_worker_state"
BACKLOG = "gunicorn_listener_backlog"
KINDS = {"": "tests.support.apps:app", "Uvicorn": "tests.support.asgi_apps:app"}

LATE = """
import os, time
while not os.path.exists({gate!r}):
    time.sleep(0.02)
from tests.support.apps import app
"""


def states(metrics: Samples) -> Counter[str]:
    """Return how many workers are in each state; each has one series, 1 where it runs."""
    found = metrics.series(STATE)
    assert len({one.labels["worker_id"] for one in found}) == len(found)
    assert all(one.value == (one.labels["state"] == "running") for one in found)
    return Counter(one.labels["state"] for one in found)


def wait_states(server: Gunicorn, **expected: int) -> Samples:
    """Return the first scrape where so many workers are in these states, and none in others.

    How many slots are left by stopped workers depends on how fast those were.
    """
    latest: list[Samples] = []
    unasked = {"stopped"} - {*expected}

    def reached() -> bool:
        latest[:] = [server.metrics()]
        found = states(latest[0])
        return {state: found[state] for state in {*found, *expected} - unasked} == expected

    server.wait_for(reached, message=f"the states {expected}")
    return latest[0]


@contextmanager
def a_slow_request(server: Gunicorn, seconds: float) -> Iterator[None]:
    """Have one request in progress that takes so long."""
    thread = threading.Thread(target=server.get, args=(f"/slow?seconds={seconds}",))
    thread.start()
    server.wait_sum("gunicorn_worker_requests_in_progress", 1)
    yield
    thread.join()


@oldest_and_newest
def test_a_worker_boots_runs_quits_and_is_stopped(
    gunicorn_version: str | None, tmp_path: Path
) -> None:
    gate = tmp_path / "open"
    code = tmp_path / "late.py"
    code.write_text(LATE.format(gate=str(gate)))
    started = int(time.time())
    with running_gunicorn(str(code), gunicorn_version=gunicorn_version) as server:
        wait_states(server, booting=2)
        gate.touch()
        metrics = wait_states(server, running=2)
        for one in metrics.series(STATE):
            assert started <= int(one.labels["timestamp"]) <= time.time()

        with a_slow_request(server, 1.5):
            server.signal(signal.SIGHUP)
            wait_states(server, running=2, quitting=1)
        metrics = wait_states(server, running=2)
        assert 1 <= states(metrics)["stopped"] <= 2

        for _ in range(3):  # the slots of the stopped ones are taken again
            before = server.worker_pids()
            server.signal(signal.SIGHUP)
            server.wait_workers(2, but=before)
        assert states(wait_states(server, running=2))["stopped"] <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_states_of_a_worker_that_is_told_from_outside(kind: str) -> None:
    """uvicorn's worker handles signals by itself and dies of them: the master tells its state."""
    worker_class = f"gunicorn_prometheus_exporter.Prometheus{kind}Worker"
    with running_gunicorn(
        KINDS[kind], worker_class=worker_class, workers=1, config="timeout = 2"
    ) as server:
        pid = int(server.get("/pid").text)
        slot = slot_of(pid)
        os.kill(pid, signal.SIGSTOP)  # it will not answer SIGABRT
        wait_states(server, aborting=1)
        server.wait_workers(1, but=[pid])

        server.get("/pid")
        with a_slow_request(server, 1.5):
            server.signal(signal.SIGHUP)
            wait_states(server, running=1, quitting=1)
        before = int(time.time()) - 5
        metrics = wait_states(server, running=1, stopped=1)
        [stopped] = metrics.series(STATE, state="stopped")
        assert stopped.labels["worker_id"] == slot
        assert before <= int(stopped.labels["timestamp"]) <= time.time()


@oldest_and_newest
def test_workers_and_the_number_that_is_wanted(gunicorn_version: str | None) -> None:
    with running_gunicorn(gunicorn_version=gunicorn_version) as server:
        for sig, count in ((signal.SIGTTIN, 3), (signal.SIGTTIN, 4), (signal.SIGTTOU, 3)):
            server.signal(sig)
            server.wait_sum("gunicorn_workers_target", count)
            server.wait_sum("gunicorn_workers", count)

        reloaded = time.time()
        server.signal(signal.SIGHUP)
        metrics = server.wait_sum("gunicorn_workers", 2)
        assert metrics.value("gunicorn_workers_target") == 2
        assert metrics.value("gunicorn_master_reloads_total") == 1
        last = metrics.value("gunicorn_master_last_reload_timestamp_seconds")
        assert reloaded - 1 <= last <= time.time()
        assert metrics.value("gunicorn_master_start_time_seconds") < last


@contextmanager
def waiting(address: tuple[str, int] | str, count: int) -> Iterator[None]:
    """Have so many connections to `address` that say nothing."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.socket(family)).connect(address)
        yield


@oldest_and_newest
def test_the_queue_of_each_listener(gunicorn_version: str | None, tmp_path: Path) -> None:
    """Of TCP and of unix sockets; one that a reload took away has none that wait."""
    path = str(tmp_path / "socket")
    config = f"bind = ['127.0.0.1:0', '127.0.0.1:0', 'unix:{path}']\ntimeout = 0"
    with running_gunicorn(workers=1, config=config, gunicorn_version=gunicorn_version) as server:
        first, second, third = server.addresses
        assert third == path
        names = [f"http://127.0.0.1:{port}" for _, port in (first, second)] + [f"unix:{path}"]
        for address in server.addresses:
            assert len(server.get().body) == 5, address
        metrics = server.metrics()
        assert metrics.label_values(BACKLOG, "listener") == set(names)

        [pid] = server.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        try:
            with waiting(first, 2), waiting(second, 3), waiting(third, 4):
                for name, count in zip(names, (2, 3, 4), strict=True):
                    server.wait_sum(BACKLOG, count, listener=name)
        finally:
            os.kill(pid, signal.SIGCONT)
        server.wait_sum(BACKLOG, 0)

        os.kill(pid, signal.SIGSTOP)
        with waiting(first, 2):
            server.wait_sum(BACKLOG, 2)
            server.write_config("timeout = 0")
            server.signal(signal.SIGHUP)
            server.wait_log("Listening at", count=2)
            metrics = server.wait_sum(BACKLOG, 0)
            assert metrics.series(BACKLOG, listener=names[0])
        os.kill(pid, signal.SIGCONT)
        server.wait_workers(1, but=[pid])
