"""The eventlet worker."""

from __future__ import annotations

from tests.conformance.workers import WorkerConformance, on_gunicorns
from tests.support.versions import OLDER


@on_gunicorns(*OLDER, None)
class TestEventlet(WorkerConformance):
    """Eventlet worker, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusEventletWorker"
    application = "tests.support.apps:app"
