"""The Flask sample project is served and measured by every worker that fits it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.gunicorn import ROOT, Gunicorn, running_gunicorn

PROJECT = ROOT / "sample_projects" / "flask_app"

CONFIGURATIONS = {
    "simple": (),
    "thread": (),
    "gevent": (),
    "eventlet": ("-k", "gunicorn_prometheus_exporter.PrometheusEventletWorker"),
    "simple preloaded": ("--preload",),
}

RECIPE, COMMENT = "/recipes/<name>", "/recipes/<name>/comments/<int:number>"
REQUESTS = [
    ("GET", "/recipes/soup", 200, RECIPE),
    ("GET", "/recipes/bread", 200, RECIPE),
    ("GET", "/recipes/stone", 404, RECIPE),
    ("POST", "/recipes/soup", 405, RECIPE),
    ("GET", "/recipes", 308, "/recipes/"),
    ("GET", "/recipes/random", 302, "/recipes/random"),
    ("GET", "/recipes/soup/comments/7", 200, COMMENT),
    ("GET", "/recipes/soup/aloud", 200, "/recipes/<name>/aloud"),
    ("POST", "/recipes/soup/cook/4", 200, "/recipes/<name>/cook/<int:servings>"),
    ("POST", "/recipes/soup/cook/400", 503, "/recipes/<name>/cook/<int:servings>"),
    ("GET", "/nothing/here", 404, "<unmatched>"),
]


@pytest.fixture(params=CONFIGURATIONS)
def server(request: pytest.FixtureRequest) -> Iterator[Gunicorn]:
    """The kitchen under each worker, by its own configuration."""
    name = request.param.split()[0].replace("eventlet", "simple")
    config = PROJECT / f"gunicorn_{name}.conf.py"
    with running_gunicorn(None, config_file=config, args=CONFIGURATIONS[request.param]) as running:
        yield running


def test_the_kitchen_is_measured_under_every_worker(server: Gunicorn) -> None:
    """Each request once, under its rule; what is excluded nowhere."""
    for method, path, status, _ in REQUESTS:
        assert server.get(path, method=method).status == status, path
    server.get("/healthz")

    count = "gunicorn_requests_total"
    server.wait_for(lambda: server.metrics().sum(count) >= len(REQUESTS), message="the count")
    metrics = server.metrics()
    for method, _, status, endpoint in REQUESTS:
        alike = [r for r in REQUESTS if (r[0], r[2], r[3]) == (method, status, endpoint)]
        labels = {"method": method, "status": str(status), "endpoint": endpoint, "diet": "any"}
        assert metrics.sum(count, **labels) == len(alike), labels
    assert metrics.sum(count) == len(REQUESTS)
    assert metrics.sum("gunicorn_worker_requests_total") == len(REQUESTS)
    assert metrics.sum("gunicorn_request_exceptions_total", error_type="OverflowError") == 1
    assert metrics.sum("gunicorn_request_exceptions_total") == 1
    assert metrics.sum("gunicorn_worker_requests_in_progress") == 0
    assert metrics.sum("kitchen_servings_total", recipe="soup") == 4


def test_the_kitchen_passes_its_own_tests() -> None:
    """They show how the metrics of an application are tested."""
    subprocess.run([sys.executable, "-m", "unittest"], cwd=PROJECT, check=True, timeout=60)
