"""The Pyramid sample project is served and measured by every worker that fits it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.gunicorn import ROOT, Gunicorn, running_gunicorn

PROJECT = ROOT / "sample_projects" / "pyramid_app"


@pytest.fixture(
    params=[
        "PrometheusWorker",
        "PrometheusThreadWorker",
        "PrometheusGeventWorker",
        "PrometheusEventletWorker",
    ]
)
def server(request: pytest.FixtureRequest) -> Iterator[Gunicorn]:
    """The museum under each worker, by its own configuration."""
    with running_gunicorn(
        None,
        config_file=PROJECT / "gunicorn.conf.py",
        args=["-k", f"gunicorn_prometheus_exporter.{request.param}"],
    ) as running:
        yield running


def test_the_museum_is_measured_under_every_worker(server: Gunicorn) -> None:
    """Real requests, of all kinds that the museum knows."""
    expected = {
        ("/tickets/{day}", "200"): [server.get(f"/tickets/2030-01-0{n}").status for n in (1, 2)],
        ("/guide", "200"): [server.get("/guide").status],
        ("/report/{year}", "503"): [server.get("/report/2030").status],
        ("traversal:Museum", "200"): [server.get("/").status],
        ("traversal:Department", "200"): [server.get("/paintings").status],
        ("traversal:Painting", "200"): [server.get("/paintings/guernica").status],
        ("traversal:Painting/history", "200"): [server.get("/paintings/guernica/history").status],
        ("<unmatched>", "404"): [server.get(f"/paintings/{n}").status for n in range(5)],
    }
    server.get("/healthz")
    server.get("/static/style.css")

    for (_, status), statuses in expected.items():
        assert {str(each) for each in statuses} == {status}
    total = sum(map(len, expected.values()))
    server.wait_for(
        lambda: server.metrics().sum("gunicorn_requests_total") >= total, message="the count"
    )
    metrics = server.metrics()
    for (endpoint, status), statuses in expected.items():
        labels = {"endpoint": endpoint, "status": status, "language": "en"}
        assert metrics.sum("gunicorn_requests_total", **labels) == len(statuses), labels
    assert metrics.sum("gunicorn_requests_total") == total
    assert metrics.sum("gunicorn_worker_requests_total") == total
    error = {"endpoint": "/report/{year}", "error_type": "StrikeError"}
    assert metrics.sum("gunicorn_request_exceptions_total", **error) == 1
    assert metrics.sum("gunicorn_request_exceptions_total") == 1


def test_the_museum_passes_its_own_tests() -> None:
    """They show how the metrics of an application are tested."""
    subprocess.run([sys.executable, "-m", "unittest"], cwd=PROJECT, check=True, timeout=60)
