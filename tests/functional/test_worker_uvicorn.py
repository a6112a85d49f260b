"""The uvicorn worker."""

from __future__ import annotations

from tests.conformance.asgi_workers import ASGIWorkerConformance
from tests.conformance.workers import on_gunicorns


@on_gunicorns(None)
class TestUvicorn(ASGIWorkerConformance):
    """Uvicorn worker, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusUvicornWorker"
