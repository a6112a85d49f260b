"""The ASGI worker of gunicorn."""

from __future__ import annotations

from tests.conformance.workers import WorkerConformance, on_gunicorns


@on_gunicorns("25.3.0", None)
class TestASGI(WorkerConformance):
    """ASGI worker of gunicorn, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusASGIWorker"
    application = "tests.support.asgi_apps:app"
    config = "graceful_timeout = 2"
