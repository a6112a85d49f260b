"""The FastAPI sample project is served and measured by every kind of worker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.sync.client import connect

from tests.support import clients
from tests.support.gunicorn import ROOT, Gunicorn, running_gunicorn

PROJECT = ROOT / "sample_projects" / "fastapi_app"


def bridged(worker: str, *options: str) -> tuple[str, Sequence[str]]:
    """Return how to run the project over the bridge under another WSGI worker."""
    return "sync", ("-k", f"gunicorn_prometheus_exporter.Prometheus{worker}Worker", *options)


CONFIGURATIONS: dict[str, tuple[str, Sequence[str]]] = {
    "asgi": ("asgi", ()),
    "uvicorn": ("uvicorn", ()),
    "sync": ("sync", ()),
    "sync preloaded": ("sync", ("--preload",)),
    "thread": bridged("Thread", "--threads", "4"),
    "thread preloaded": bridged("Thread", "--threads", "4", "--preload"),
    "gevent": bridged("Gevent"),
    "gevent preloaded": bridged("Gevent", "--preload"),
    "eventlet preloaded": bridged("Eventlet", "--preload"),
    "eventlet": bridged("Eventlet"),
}

FORECAST, AGAIN = "/forecasts/{city}", "/v2/{region}/forecasts/{city}"
REQUESTS = [
    ("GET", "/forecasts/oslo", 200, FORECAST),
    ("GET", "/forecasts/rome", 200, FORECAST),
    ("HEAD", "/forecasts/rome", 405, FORECAST),
    ("POST", "/forecasts/oslo", 405, FORECAST),
    ("GET", "/forecasts/oslo/", 307, FORECAST),
    ("GET", "/v2/north/forecasts/oslo", 200, AGAIN),
    ("GET", "/v2/north/forecasts/oslo/hours", 200, AGAIN + "/hours"),
    ("POST", "/forecasts/oslo/subscriptions", 202, FORECAST + "/subscriptions"),
    ("GET", "/internal/ops/dashboards/rain", 200, "/internal/{team}/dashboards/{name}"),
    ("GET", "/internal/ops/nothing", 404, "<unmatched>"),
    ("GET", "/masts/7", 200, "/masts/{number}"),
    ("GET", "/masts/seven", 422, "/masts/{number}"),
    ("GET", "/masts/101", 503, "/masts/{number}"),
    ("GET", "/nothing/here", 404, "<unmatched>"),
]


@pytest.fixture(params=CONFIGURATIONS, scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Gunicorn]:
    """The weather service under each worker, by its own configuration."""
    name, arguments = CONFIGURATIONS[request.param]
    config = PROJECT / f"gunicorn_{name}.conf.py"
    with running_gunicorn(None, config_file=config, args=arguments) as running:
        yield running


def test_the_weather_is_measured_under_every_worker(server: Gunicorn) -> None:
    """Each request once, under its route; what is excluded nowhere."""
    for method, path, status, _ in REQUESTS:
        assert server.get(path, method=method).status == status, path
    # The lifespan has run, and its state has come to the request.
    assert server.get("/healthz").body == b'"done"'

    count = "gunicorn_requests_total"
    server.wait_for(lambda: server.metrics().sum(count) >= len(REQUESTS), message="the count")
    metrics = server.metrics()
    for method, _, status, endpoint in REQUESTS:
        alike = [r for r in REQUESTS if (r[0], r[2], r[3]) == (method, status, endpoint)]
        labels = {"method": method, "status": str(status), "endpoint": endpoint, "unit": "metric"}
        assert metrics.sum(count, **labels) == len(alike), labels
    assert metrics.sum(count) == len(REQUESTS)
    assert metrics.sum("gunicorn_worker_requests_total") == len(REQUESTS)
    assert metrics.sum("gunicorn_request_exceptions_total", error_type="StormError") == 1
    assert metrics.sum("gunicorn_request_exceptions_total") == 1
    assert metrics.sum("gunicorn_worker_requests_in_progress") == 0
    server.wait_for(
        lambda: server.metrics().sum("weather_subscriptions_total") == 1, message="the task"
    )


def test_requests_that_come_together_are_all_answered_and_counted(server: Gunicorn) -> None:
    """Streams, threads and coroutines of one event loop, and a client in eight that leaves."""
    before = server.metrics()

    def ask(number: int) -> int:
        if number % 8 == 0:
            with clients.connected(server.address) as connection:
                connection.sendall(b"GET /forecasts/oslo/hours HTTP/1.1\r\nHost: x\r\n\r\n")
            return 200
        return server.get("/forecasts/oslo/hours" if number % 2 else "/forecasts/oslo").status

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(64))) == {200}

    def counted(name: str = "gunicorn_requests_total") -> float:
        return server.metrics().sum(name) - before.sum(name)

    server.wait_for(lambda: counted() >= 64, message="the count")
    server.wait_for(
        lambda: server.metrics().sum("gunicorn_worker_requests_in_progress") == 0,
        message="every request to end",
    )
    assert counted() == 64
    assert counted("gunicorn_request_exceptions_total") == 0


@pytest.mark.parametrize("name", ["asgi", "uvicorn"])
def test_the_wind_is_reported_and_not_counted(name: str) -> None:
    """A websocket is no HTTP request."""
    with running_gunicorn(None, config_file=PROJECT / f"gunicorn_{name}.conf.py") as server:
        with connect(f"ws://127.0.0.1:{server.port}/wind/7") as websocket:
            assert websocket.recv() == "mast 7: 7"
        server.get("/masts/7")

        server.wait_for(lambda: server.metrics().sum("gunicorn_requests_total") >= 1)
        assert server.metrics().sum("gunicorn_requests_total") == 1


def test_the_weather_passes_its_own_tests() -> None:
    """They show how the metrics of an application are tested."""
    subprocess.run([sys.executable, "-m", "unittest"], cwd=PROJECT, check=True, timeout=60)
