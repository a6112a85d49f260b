"""The uvicorn worker."""

from __future__ import annotations

from tests.conformance.workers import WorkerConformance, on_gunicorns


@on_gunicorns(None)
class TestUvicorn(WorkerConformance):
    """Uvicorn worker, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusUvicornWorker"
    application = "tests.support.asgi_apps:app"
