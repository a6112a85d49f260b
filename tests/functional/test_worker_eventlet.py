"""The eventlet worker."""

from __future__ import annotations

from tests.conformance.workers import on_gunicorns
from tests.conformance.wsgi_workers import WSGIWorkerConformance
from tests.support.versions import OLDER


@on_gunicorns(OLDER[0], None)
class TestEventlet(WSGIWorkerConformance):
    """Eventlet worker, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusEventletWorker"
