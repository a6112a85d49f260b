"""A master that is killed leaves nobody behind, and one that is told to quit is quick about it."""

from __future__ import annotations

import signal

import pytest

from tests.support.counting import wait_running
from tests.support.gunicorn import Gunicorn, running_gunicorn

WSGI, ASGI = "tests.support.apps:app", "tests.support.asgi_apps:app"
APPLICATIONS = {
    "PrometheusWorker": WSGI,
    "PrometheusThreadWorker": WSGI,
    "PrometheusGeventWorker": WSGI,
    "PrometheusEventletWorker": WSGI,
    "PrometheusASGIWorker": ASGI,
    "PrometheusUvicornWorker": ASGI,
}


@pytest.mark.parametrize("worker", APPLICATIONS)
def test_every_process_leaves_soon_after_a_killed_master(worker: str) -> None:
    worker_class = f"gunicorn_prometheus_exporter.{worker}"
    # Sync workers look for their master when they are idle, every timeout / 2.
    server = Gunicorn(APPLICATIONS[worker], worker_class=worker_class, config="timeout = 4")
    try:
        server.start()
        wait_running(server)
        assert len(server.session()) == 1 + 2 + 1

        server.signal(signal.SIGKILL)
        server.wait_end()
        server.assert_nothing_left(timeout=6)
    finally:
        server.destroy()


@pytest.mark.parametrize("worker", APPLICATIONS)
def test_every_worker_leaves_at_once_when_the_master_is_to_quit(worker: str) -> None:
    """Not only when the graceful timeout, 10 seconds here, is over and they are killed."""
    worker_class = f"gunicorn_prometheus_exporter.{worker}"
    with running_gunicorn(APPLICATIONS[worker], worker_class=worker_class) as server:
        wait_running(server)

        assert server.stop(signal.SIGQUIT, timeout=6) == 0
