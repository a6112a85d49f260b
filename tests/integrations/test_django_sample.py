"""The Django sample project is served and measured by every worker that fits it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gunicorn import ROOT, Gunicorn, running_gunicorn
from tests.support.versions import installed_version

PROJECT = ROOT / "sample_projects" / "django_project"
WSGI = (
    "PrometheusWorker",
    "PrometheusThreadWorker",
    "PrometheusGeventWorker",
    "PrometheusEventletWorker",
)
ASGI = ("PrometheusASGIWorker", "PrometheusUvicornWorker")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's database, migrated."""
    path = tmp_path_factory.mktemp("library") / "db.sqlite3"
    manage("migrate", "--verbosity", "0", database=path)
    return path


def manage(*command: str, database: Path) -> str:
    """Run manage.py and return what it prints."""
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=PROJECT,
        env={"LIBRARY_DB": str(database), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        timeout=60,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout


@pytest.fixture(scope="module", params=[*WSGI, *ASGI])
def server(request: pytest.FixtureRequest, database: Path) -> Iterator[Gunicorn]:
    """The project under each worker, by its own configuration."""
    worker = request.param
    if worker == "PrometheusASGIWorker" and installed_version() < (24,):
        pytest.skip("gunicorn has an ASGI worker from 24 on")
    protocol = "asgi" if worker in ASGI else "wsgi"
    with running_gunicorn(
        None,
        config_file=PROJECT / f"gunicorn_{protocol}.conf.py",
        args=["-k", f"gunicorn_prometheus_exporter.{worker}"],
        env={"LIBRARY_DB": str(database)},
    ) as running:
        yield running


def test_the_project_is_measured_under_every_worker(server: Gunicorn) -> None:
    """Real requests, of all kinds that the project knows."""
    expected = {
        ("/books/<int:pk>/", "200"): [server.get(f"/books/{n}/").status for n in (1, 2, 3)],
        ("/books/<int:pk>/", "404"): [server.get("/books/99/").status],
        ("/books/<int:pk>/", "301"): [server.get("/books/1").status],
        ("/books/hours/", "200"): [server.get("/books/hours/").status],
        ("/books/catalogue/", "200"): [server.get("/books/catalogue/").status],
        ("/books/restricted/<shelf>/", "404"): [server.get("/books/restricted/ab/").status],
        ("/books/restricted/<shelf>/", "500"): [server.get("/books/restricted/c/?key=1").status],
        ("/books/statistics/", "200"): [server.get("/books/statistics/").status for _ in "12"],
        ("/api/books/", "201"): [add_book(server)],
        ("/api/books/<pk>/", "200"): [server.get("/api/books/1/").status],
        ("/admin/login/", "200"): [server.get("/admin/login/").status],
        ("<unmatched>", "404"): [server.get(f"/nothing/{n}").status for n in range(5)],
    }
    server.get("/healthz")

    for (_, status), statuses in expected.items():
        assert {str(each) for each in statuses} == {status}
    total = sum(map(len, expected.values()))
    server.wait_for(
        lambda: server.metrics().sum("gunicorn_requests_total") >= total, message="the count"
    )
    metrics = server.metrics()
    for (endpoint, status), statuses in expected.items():
        labels = {"endpoint": endpoint, "status": status}
        assert metrics.sum("gunicorn_requests_total", **labels) == len(statuses), labels
    assert metrics.sum("gunicorn_requests_total") == total
    assert metrics.sum("gunicorn_worker_requests_total") == total
    api = metrics.sum("gunicorn_requests_total", user="api")
    assert (api, metrics.sum("gunicorn_requests_total", user="person")) == (2, total - 2)
    error = {"endpoint": "/books/restricted/<shelf>/", "error_type": "PermissionError"}
    assert metrics.sum("gunicorn_request_exceptions_total", **error) == 1
    assert metrics.sum("gunicorn_request_exceptions_total") == 1


def test_what_is_beyond_requests_is_shared_by_the_workers(server: Gunicorn) -> None:
    """Queries, cache, models and migrations of all workers stand on the metrics port."""
    inserts = server.metrics().sum("django_model_inserts_total", model="books.Book")

    for _ in range(3):
        add_book(server)
        server.get("/books/statistics/")

    metrics = server.metrics()
    labels = {"alias": "default", "vendor": "sqlite"}
    assert metrics.sum("django_model_inserts_total", model="books.Book") == inserts + 3
    assert metrics.sum("django_db_execute_total", **labels) >= 4
    assert metrics.sum("django_db_query_duration_seconds_count", **labels) >= 4
    assert metrics.sum("django_db_new_connections_total", **labels) >= 3
    assert metrics.sum("django_cache_get_total", alias="default") >= 3
    server.wait_for(
        lambda: server.metrics().sum("django_migrations_applied_total", connection="default") > 10,
        message="the migrations to be looked at",
    )
    assert server.metrics().sum("django_migrations_unapplied_total") == 0


def test_the_project_passes_its_own_tests(tmp_path: Path) -> None:
    """They show how the metrics of a project are tested."""
    assert "no issues" in manage("check", database=tmp_path / "db.sqlite3")
    manage("test", database=tmp_path / "db.sqlite3")


def add_book(server: Gunicorn) -> int:
    """Add a book through the API; return the status."""
    body = json.dumps({"title": "Emma"}).encode()
    return server.get("/api/books/", method="POST", body=body, headers=JSON).status
