"""Server hooks: the user's own go on as before, and ours may be used in any number."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.gunicorn import WORKER, Gunicorn, running_gunicorn
from tests.support.versions import oldest_and_newest

ARGUMENTS = {
    "on_starting": "server",
    "on_reload": "server",
    "when_ready": "server",
    "pre_fork": "server, worker",
    "post_fork": "server, worker",
    "post_worker_init": "worker",
    "worker_int": "worker",
    "worker_abort": "worker",
    "pre_exec": "server",
    "pre_request": "worker, req",
    "post_request": "worker, req, environ, resp",
    "child_exit": "server, worker",
    "worker_exit": "server, worker",
    "nworkers_changed": "server, new_value, old_value",
    "on_exit": "server",
}

NOTE = """
import os

def note(name):
    fd = os.open({path!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (name + "\\n").encode())
    os.close(fd)
    if name == "pre_exec":
        os._exit(0)  # instead of a second master

timeout = 1
"""


def all_hooks(path: Path) -> str:
    """Return a configuration in which every hook notes its name in `path`."""
    hooks = [f"def {name}({args}): note({name!r})\n" for name, args in ARGUMENTS.items()]
    return NOTE.format(path=str(path)) + "".join(hooks)


def a_life(path: Path, worker_class: str, version: str | None) -> Counter[str]:
    """Run a gunicorn through everything that calls hooks; return how often each was called."""
    with running_gunicorn(
        worker_class=worker_class, config=all_hooks(path), gunicorn_version=version,
        expect_metrics=worker_class == WORKER,
    ) as server:  # fmt: skip

        def booted(count: int) -> None:  # or a signal would find workers in the midst of it
            noted = "post_worker_init\n"
            server.wait_for(lambda: path.read_text().count(noted) == count, message=noted)

        for _ in range(3):
            assert server.get().status == 200
        booted(2)
        server.signal(signal.SIGTTIN)
        booted(3)
        server.signal(signal.SIGTTOU)
        server.wait_workers(2)
        before = server.worker_pids()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, but=before)
        booted(5)
        server.signal(signal.SIGUSR2)
        server.wait_for(lambda: "pre_exec" in path.read_text())
        wait_for_a_timeout(server)
        booted(6)
        assert server.stop(signal.SIGQUIT) == 0
    return Counter(path.read_text().split())


def wait_for_a_timeout(server: Gunicorn) -> None:
    """Have a worker killed by a request that takes too long."""
    before = server.worker_pids()

    def ask() -> None:
        with suppress(OSError, HTTPException):
            server.get("/slow?seconds=60")

    thread = threading.Thread(target=ask)
    thread.start()
    server.wait_for(lambda: len(set(before) & set(server.worker_pids())) == 1)
    server.wait_workers(2)
    thread.join()


@oldest_and_newest
def test_the_users_hooks_are_called_as_often_as_without_us(
    gunicorn_version: str | None, tmp_path: Path
) -> None:
    without = a_life(tmp_path / "without", "sync", gunicorn_version)
    with_us = a_life(tmp_path / "with", WORKER, gunicorn_version)

    assert set(without) == set(ARGUMENTS)
    assert with_us == without


TWICE = """
from gunicorn_prometheus_exporter.hooks import *
from gunicorn_prometheus_exporter import hooks

def twice(hook):
    def both(*args):
        hook(*args)
        hook(*args)
    return both

def on_starting(server): twice(hooks.default_on_starting)(server)
def when_ready(server): twice(hooks.default_when_ready)(server)
def post_fork(server, worker): twice(hooks.default_post_fork)(server, worker)
def worker_int(worker): twice(hooks.default_worker_int)(worker)
def on_exit(server): twice(hooks.default_on_exit)(server)
"""

AS_THEY_ARE = """
from gunicorn_prometheus_exporter.hooks import default_on_exit as on_exit
from gunicorn_prometheus_exporter.hooks import default_on_starting as on_starting
from gunicorn_prometheus_exporter.hooks import default_post_fork as post_fork
from gunicorn_prometheus_exporter.hooks import default_when_ready as when_ready
from gunicorn_prometheus_exporter.hooks import default_worker_int as worker_int
"""


@oldest_and_newest
@pytest.mark.parametrize("config", [AS_THEY_ARE, TWICE], ids=["once", "twice"])
def test_our_hooks_change_nothing(config: str, gunicorn_version: str | None) -> None:
    """One master's side, one exporter, each request once, and nothing is left at the end."""
    with running_gunicorn(config=config, gunicorn_version=gunicorn_version) as server:
        for _ in range(4):
            assert server.get().status == 200
        before = server.worker_pids()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, but=before)
        for _ in range(4):
            assert server.get().status == 200

        metrics = server.wait_sum("gunicorn_requests_total", 8)
        assert metrics.value("gunicorn_workers") == 2
        assert len(server.exporter_pids()) == 1
        assert server.log_text().count("Prometheus metrics on") == 1
        assert server.stop(signal.SIGINT) == 0


def test_our_hooks_alone_observe_the_master() -> None:
    """With gunicorn's own worker there is nothing to say of requests, but of the master."""
    with running_gunicorn(worker_class="sync", config=AS_THEY_ARE) as server:
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        assert server.get().status == 200

        metrics = server.wait_sum("gunicorn_workers_target", 2)
        assert "gunicorn_requests_total" not in metrics
        server.wait_sum("gunicorn_master_worker_restart_total", 1, reason="chld")


@pytest.mark.parametrize(
    "hook",
    [
        "from gunicorn_prometheus_exporter.hooks import redis_when_ready as when_ready",
        "from gunicorn_prometheus_exporter.hooks import redis_when_ready\n"
        "def when_ready(server): redis_when_ready(server)",
    ],
    ids=["as it is", "from another"],
)
def test_the_hook_for_redis_leaves_no_directory(hook: str) -> None:
    """It is asked before the master has chosen where to keep the metrics."""
    env = {"REDIS_PORT": "1"}  # nobody listens there, and requests must not mind
    with running_gunicorn(config=hook, env=env) as server:
        assert server.get().status == 200
        assert server.storage_folders() == set()
        server.wait_sum("gunicorn_requests_total", 1)
