"""Several gunicorns on one machine, and what one that was killed leaves to the next."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support import http
from tests.support.exits import slot_of
from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.ports import free_port
from tests.support.samples import Samples
from tests.support.versions import oldest_and_newest
from tests.support.waiting import wait_until

REQUESTS = "gunicorn_requests_total"
KINDS = {
    "": "tests.support.apps:app",
    "Thread": "tests.support.apps:app",
    "Eventlet": "tests.support.apps:app",
    "Uvicorn": "tests.support.asgi_apps:app",
}


def ask(server: Gunicorn, count: int) -> None:
    """Send so many requests, all answered 200."""
    for _ in range(count):
        assert server.get().status == 200


@oldest_and_newest
def test_two_gunicorns_want_one_port(gunicorn_version: str | None) -> None:
    """The second says so once, serves its application, and has the port when the first is gone."""
    port = free_port()
    env = {"PROMETHEUS_METRICS_PORT": str(port)}
    options = {"env": env, "workers": 1, "gunicorn_version": gunicorn_version}
    with (
        running_gunicorn(**options) as first,
        running_gunicorn(**options, expect_metrics=False) as second,
    ):
        second.wait_log("No Prometheus metrics: cannot listen on 127.0.0.1 port")
        ask(first, 2)
        ask(second, 5)
        assert first.wait_sum(REQUESTS, 2).value("gunicorn_workers") == 1

        assert first.stop() == 0
        second.wait_log(f"Prometheus metrics on http://127.0.0.1:{port}/metrics")
        second.wait_sum(REQUESTS, 5)
        assert second.log_text().count("cannot listen") == 1


@oldest_and_newest
def test_two_gunicorns_share_one_directory(gunicorn_version: str | None, tmp_path: Path) -> None:
    """Each of them exposes both; the ids of their workers differ; what one counted stays."""
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    options = {"env": env, "gunicorn_version": gunicorn_version}
    with running_gunicorn(**options) as first:
        with running_gunicorn(**options) as second:
            ask(first, 3)
            ask(second, 4)
            for server in (first, second):
                metrics = server.wait_sum(REQUESTS, 7)
                assert metrics.value("gunicorn_workers") == 4
                assert metrics.value("gunicorn_workers_target") == 4
            slots = [slot_of(pid) for one in (first, second) for pid in one.worker_pids()]
            assert sorted(slots) == ["0", "1", "2", "3"]

            assert second.stop() == 0
        ask(first, 1)
        metrics = first.wait_sum(REQUESTS, 8)
        assert metrics.value("gunicorn_workers_target") == 2
        assert metrics.value("gunicorn_workers") == 2

    with running_gunicorn(**options) as next_one:  # nobody was there: it begins from 0
        ask(next_one, 2)
        next_one.wait_sum(REQUESTS, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_everybody_leaves_a_master_that_was_killed(kind: str) -> None:
    """The exporter and the workers go by themselves; the directory goes with the next start."""
    worker_class = f"gunicorn_prometheus_exporter.Prometheus{kind}Worker"
    config = "timeout = 2"  # idle sync workers look for their master at every half of it
    with running_gunicorn(KINDS[kind], worker_class=worker_class, config=config) as server:
        ask(server, 1)
        [folder] = server.storage_folders()
        server.signal(signal.SIGKILL)
        server.wait_end()
        wait_until(lambda: not server.session(), 10, "the workers and the exporter to leave")
        assert folder.is_dir()

        with running_gunicorn(workers=1) as successor:
            wait_until(lambda: not folder.exists(), message="the stale directory to go")
            ask(successor, 1)


def test_a_master_that_was_killed_leaves_its_own_directory_to_the_next(tmp_path: Path) -> None:
    """Even while a worker of it still serves: then what that one counts goes on."""
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with running_gunicorn(env=env, workers=1, config="timeout = 60") as server:
        ask(server, 3)
        server.wait_sum(REQUESTS, 3)
        [orphan] = server.worker_pids()
        os.kill(orphan, signal.SIGSTOP)  # it lives, and does not look for its master
        server.signal(signal.SIGKILL)
        server.wait_end()

        with running_gunicorn(env=env, workers=1) as successor:
            assert [slot_of(pid) for pid in successor.worker_pids()] == ["1"]
            ask(successor, 2)
            successor.wait_sum(REQUESTS, 5)
            os.kill(orphan, signal.SIGKILL)
            successor.wait_sum("gunicorn_workers", 1)
            assert successor.metrics().sum(REQUESTS) == 5


def test_an_exporter_that_was_killed_comes_back_and_no_scrape_fails() -> None:
    with running_gunicorn() as server:
        ask(server, 4)
        server.wait_sum(REQUESTS, 4)
        [exporter] = server.exporter_pids()
        os.kill(exporter, signal.SIGKILL)

        metrics = Samples(http.request(server.metrics_address, "/metrics").text)
        assert metrics.sum(REQUESTS) == 4
        assert len(server.exporter_pids()) == 1
        assert server.exporter_pids() != [exporter]
        assert "was sent SIGKILL" not in server.log_text()


@oldest_and_newest
def test_a_directory_that_somebody_removed_harms_no_request(gunicorn_version: str | None) -> None:
    """Nor a reload, nor the end of a worker: new ones serve without metrics, and say so."""
    with running_gunicorn(gunicorn_version=gunicorn_version) as server:
        ask(server, 3)
        [folder] = server.storage_folders()
        shutil.rmtree(folder)
        before = server.worker_pids()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, but=before)
        ask(server, 3)
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        server.wait_workers(2)
        ask(server, 3)
        assert "This worker serves without metrics" in server.log_text()
        assert server.scrape().status == 200
        assert "Traceback" not in server.log_text()
