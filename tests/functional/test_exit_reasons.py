"""Why workers ended, and what the master was asked to do, as a scrape tells it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.exits import BY_MASTER, Exits, exits, left_in, signals, slot_of, wait_exits
from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.samples import Samples
from tests.support.versions import every_gunicorn, oldest_and_newest

WSGI, ASGI = "tests.support.apps:app", "tests.support.asgi_apps:app"
SIGNALS_AND_WORKERS = {"hup": 2, "ttin": 3, "ttou": 2, "usr1": 2, "usr2": 2, "winch": 2}
OTHERS = {"Thread": WSGI, "Gevent": WSGI, "Eventlet": WSGI, "ASGI": ASGI, "Uvicorn": ASGI}


@contextmanager
def asking(server: Gunicorn, path: str) -> Iterator[None]:
    """Have a request for `path` in the air, whose answer may never come."""

    def ask() -> None:
        with suppress(OSError, HTTPException):
            server.get(path)

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    thread.join()


def end_worker(server: Gunicorn, sig: int) -> str:
    """Send `sig` to a worker that has served, wait for its successor; return its worker id.

    gunicorn has no time-out for workers that never got so far as to serve.
    """
    count, pid = len(server.worker_pids()), int(server.get("/pid").text)
    slot = slot_of(pid)
    os.kill(pid, sig)
    server.wait_workers(count, but=[pid])
    return slot


@every_gunicorn
def test_every_end_of_a_sync_worker_has_its_reason(gunicorn_version: str | None) -> None:
    """One of each, all counted under the right worker, and none twice."""
    expected: Exits = {}
    with running_gunicorn(config="timeout = 1", gunicorn_version=gunicorn_version) as server:
        killed = end_worker(server, signal.SIGKILL)
        expected["sigkill", "crash"] = 1
        assert wait_exits(server, expected).sum(BY_MASTER, worker_id=killed) == 1

        told = end_worker(server, signal.SIGTERM)
        expected["sigterm", "graceful"] = 1
        metrics = wait_exits(server, expected)
        assert metrics.sum(BY_MASTER, worker_id=told, reason="sigterm") == 1

        with asking(server, "/exit?code=7"):
            expected["exit_7", "crash"] = 1
            wait_exits(server, expected)

        with asking(server, "/slow?seconds=60"):
            expected["timeout", "forced"] = 1
            wait_exits(server, expected)

        server.wait_workers(2)
        server.signal(signal.SIGTTIN)
        server.wait_workers(3)
        server.signal(signal.SIGTTOU)
        expected["ttou", "graceful"] = 1
        wait_exits(server, expected)

        server.signal(signal.SIGHUP)
        expected["hup", "graceful"] = 2
        wait_exits(server, expected)
        assert server.get().status == 200


@pytest.mark.parametrize("kind", OTHERS)
def test_every_kind_of_worker_tells_why_it_ended(kind: str) -> None:
    """A stopped process cannot answer SIGABRT, so the time-out ends in SIGKILL."""
    expected: Exits = {}
    worker_class = f"gunicorn_prometheus_exporter.Prometheus{kind}Worker"
    config = "timeout = 2\n"
    with running_gunicorn(
        OTHERS[kind], worker_class=worker_class, workers=1, config=config
    ) as server:
        end_worker(server, signal.SIGKILL)
        end_worker(server, signal.SIGTERM)
        expected |= {("sigkill", "crash"): 1, ("sigterm", "graceful"): 1}
        wait_exits(server, expected)

        end_worker(server, signal.SIGSTOP)
        expected["timeout", "forced"] = 1
        wait_exits(server, expected)

        server.write_config(config + "max_requests = 3")
        server.signal(signal.SIGHUP)
        expected["hup", "graceful"] = 1
        wait_exits(server, expected)

        for _ in range(5):  # a worker may accept one more before it notices
            assert server.get().status == 200
        expected["max_requests", "graceful"] = 1
        wait_exits(server, expected)
        # gunicorn loses a SIGTERM that finds a worker in the midst of its start.
        server.wait_sum("gunicorn_worker_state", 1, state="running")


@every_gunicorn
def test_recycled_workers_are_counted_one_by_one(gunicorn_version: str | None) -> None:
    config = "max_requests = 4"
    with running_gunicorn(workers=1, config=config, gunicorn_version=gunicorn_version) as server:
        for _ in range(13):
            assert server.get().status == 200

        metrics = wait_exits(server, {("max_requests", "graceful"): 3})
        assert metrics.sum("gunicorn_requests_total") == 13


@oldest_and_newest
def test_no_end_is_unknown_where_many_die_at_once(gunicorn_version: str | None) -> None:
    """Some die after we looked and before gunicorn collects them."""
    with running_gunicorn(workers=12, gunicorn_version=gunicorn_version) as server:
        for killed in (12, 24, 36):
            pids = server.worker_pids()
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            wait_exits(server, {("sigkill", "crash"): killed})
            server.wait_workers(12, but=pids)


@every_gunicorn
def test_every_signal_of_the_master_is_counted(
    gunicorn_version: str | None, tmp_path: Path
) -> None:
    """TERM too, and the ends of workers in a shutdown: the files of one's own directory tell."""
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    config = "def pre_exec(server): import os; os._exit(0)"  # USR2 without a second master
    with running_gunicorn(env=env, config=config, gunicorn_version=gunicorn_version) as server:
        handled = {}
        for name, workers in SIGNALS_AND_WORKERS.items():
            server.signal(getattr(signal, f"SIG{name.upper()}"))
            handled[name] = 1
            server.wait_sum("gunicorn_master_worker_restart_total", 1, reason=name)
            server.wait_sum("gunicorn_workers", workers)
        metrics = wait_exits(server, {("hup", "graceful"): 2, ("ttou", "graceful"): 1})
        counted = signals(metrics)
        # Several children that end at once may be one SIGCHLD. One of them was no worker.
        assert 1 <= counted.pop("chld") <= 4
        assert counted == handled

        assert server.stop(signal.SIGTERM) == 0

    left = left_in(tmp_path)
    assert exits(left)["shutdown", "graceful"] == 2
    assert signals(left)["term"] == 1


@pytest.mark.parametrize("name", ["int", "quit"])
def test_a_quick_shutdown_is_a_shutdown(name: str, tmp_path: Path) -> None:
    with running_gunicorn(env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}) as server:
        assert server.stop(getattr(signal, f"SIG{name.upper()}")) == 0

    assert exits(left_in(tmp_path)) == {("shutdown", "graceful"): 2}
    assert signals(left_in(tmp_path))[name] == 1


@oldest_and_newest
@pytest.mark.parametrize(
    ("app", "config", "status", "reason"),
    [
        (WSGI, "def post_worker_init(worker): raise RuntimeError", 3, "boot_error"),
        ("tests.support.apps:nothing", "", 4, "app_load_error"),
    ],
    ids=["boot_error", "app_load_error"],
)
def test_a_worker_that_cannot_start_is_counted_before_gunicorn_gives_up(
    app: str, config: str, status: int, reason: str, gunicorn_version: str | None, tmp_path: Path
) -> None:
    with running_gunicorn(
        app, workers=1, config=config, wait=False,
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}, gunicorn_version=gunicorn_version,
    ) as server:  # fmt: skip
        assert server.wait_end() == status
        server.assert_nothing_left()

    assert exits(left_in(tmp_path))[reason, "crash"] == 1


def test_changed_code_is_a_reason(tmp_path: Path) -> None:
    code = tmp_path / "changing.py"
    code.write_text("def app(environ, start_response): raise NotImplementedError\n")
    config = "reload = True\nreload_engine = 'poll'"
    with running_gunicorn(str(code), config=config) as server:
        before = server.worker_pids()

        def touched() -> bool:  # again and again: the reloader may not have looked at it yet
            os.utime(code, (time.time(), time.time()))
            return not set(before) & set(server.worker_pids())

        server.wait_for(touched, message="the workers to notice")
        assert {*exits(server.wait_for(lambda: ended(server, 2)))} == {("reload", "graceful")}


def ended(server: Gunicorn, count: int) -> Samples | None:
    """Return a scrape if at least so many workers ended."""
    metrics = server.metrics()
    return metrics if metrics.sum(BY_MASTER) >= count else None
