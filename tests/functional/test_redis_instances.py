"""What is one instance and what are two, however they are started, upgraded and killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.processes import children
from tests.support.redis import RedisServer, running_redis
from tests.support.waiting import wait_until

REQUESTS = "gunicorn_requests_total"
KEY = "gunicorn:{default}:metric:snapshots"
FAST = {"GUNICORN_PROMETHEUS_REDIS_INTERVAL": "0.1"}


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    with running_redis() as server:
        yield server


def instances(redis_server: RedisServer) -> dict[str, int]:
    """Return the ids of all instances in Redis, with their sequence numbers."""
    with contextlib.closing(redis_server.client()) as client:
        held: Any = client.hgetall(KEY)
    found = {field.decode(): raw for field, raw in held.items()}
    return {one: int(raw[16:32]) for one, raw in found.items() if one != "born"}


def wait_total(server: Gunicorn, total: float) -> None:
    """Wait until `server` shows `total` requests, and never more."""

    def is_complete() -> bool:
        shown = server.metrics().sum(REQUESTS)
        assert shown <= total
        return shown == total

    wait_until(is_complete, message=f"{total} requests")


def hit(server: Gunicorn, times: int) -> None:
    """Send `times` requests."""
    for _ in range(times):
        assert server.get("/hello").status == 200


def test_an_instance_stays_the_same_through_reload_upgrade_and_kills(
    redis_server: RedisServer,
) -> None:
    """Memory, listener and identity go from one master to the next; nothing is counted twice."""
    with running_gunicorn(env={**redis_server.env, **FAST}) as server:
        hit(server, 5)
        wait_total(server, 5)
        (first,) = instances(redis_server)
        server.signal(signal.SIGHUP)
        server.wait_log("Handling signal: hup")
        hit(server, 5)
        server.signal(signal.SIGKILL, server.exporter_pids()[0])
        server.signal(signal.SIGKILL, server.worker_pids()[0])
        server.wait_workers(2)
        hit(server, 5)
        wait_total(server, 15)
        before = instances(redis_server)[first]

        server.signal(signal.SIGUSR2)
        server.wait_log("Listening at", count=2)
        new = wait_until(lambda: new_master(server), message="the new master")
        wait_until(lambda: len(server.worker_pids(new)) == 2, message="the new master's workers")
        hit(server, 5)
        server.signal(signal.SIGTERM)
        server.wait_end()
        wait_until(lambda: server.exporter_pids(new), message="the new master's exporter")
        hit(server, 5)
        wait_total(server, 25)
        after = instances(redis_server)
        server.signal(signal.SIGTERM, new)
        server.assert_nothing_left(20)

    assert list(after) == [first]
    assert after[first] > before


def new_master(server: Gunicorn) -> int | None:
    """Return the pid of the master that an upgrade has started, if it runs."""
    found = [
        one.pid
        for one in children(server.master_pid)
        if one.pid not in server.worker_pids() and any("gunicorn.conf" in w for w in one.command)
    ]
    return found[0] if found else None


def test_a_gunicorn_that_is_started_again_adds_to_what_was(redis_server: RedisServer) -> None:
    for round_number in (1, 2, 3):
        with running_gunicorn(env={**redis_server.env, **FAST}) as server:
            hit(server, 4)
            wait_total(server, 4 * round_number)

    assert len(instances(redis_server)) == 3


def test_instances_with_the_same_pids_are_not_mistaken_for_each_other(
    redis_server: RedisServer,
) -> None:
    """As in containers, each of which has processes 1, 2, 3, … of its own."""
    if not may_unshare():
        pytest.skip("this user may not make pid namespaces")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(in_a_pid_namespace(redis_server)) for _ in range(3)]
        for number, server in enumerate(servers, start=3):
            hit(server, number)
        for server in servers:
            wait_total(server, 3 + 4 + 5)
        booted = {tuple(booting(server)) for server in servers}
        workers = {server.metrics().value("gunicorn_workers") for server in servers}

    assert len(booted) == 1, "the pids differ, so this shows nothing"
    assert workers == {6.0}
    assert len(instances(redis_server)) == 3


def may_unshare() -> bool:
    """Return whether pid namespaces can be made here."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return bool(shutil.which("unshare")) and subprocess.run(command).returncode == 0


def booting(server: Gunicorn) -> list[str]:
    """Return the lines of the log that name the pids of workers, without their times."""
    lines = server.log_text().splitlines()
    return sorted(line.partition("[INFO]")[2] for line in lines if "Booting worker" in line)


@contextlib.contextmanager
def in_a_pid_namespace(redis_server: RedisServer) -> Iterator[Gunicorn]:
    """Run a gunicorn that is process 1 of a namespace of its own."""
    server = Gunicorn(env={**redis_server.env, **FAST}, wait=False)  # its log has other pids
    server.command = ["unshare", "--pid", "--fork", "--mount-proc", *server.command]
    try:
        server.start()
        server.wait_log("Booting worker", count=2)
        server.wait_log("Prometheus metrics on")
        yield server
        for one in children(server.master_pid):
            os.kill(one.pid, signal.SIGTERM)
        server.wait_end()
    finally:
        server.destroy()
