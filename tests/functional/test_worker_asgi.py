"""The ASGI worker of gunicorn."""

from __future__ import annotations

from tests.conformance.asgi_workers import ASGIWorkerConformance
from tests.conformance.workers import on_gunicorns


@on_gunicorns("25.3.0", None)
class TestASGI(ASGIWorkerConformance):
    """ASGI worker of gunicorn, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusASGIWorker"
    config = "graceful_timeout = 2"
