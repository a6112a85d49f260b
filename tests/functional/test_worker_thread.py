"""The gthread worker."""

from __future__ import annotations

from tests.conformance.workers import WorkerConformance, on_gunicorns
from tests.support.versions import OLDER


@on_gunicorns(*OLDER, None)
class TestThread(WorkerConformance):
    """Gthread worker, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusThreadWorker"
    application = "tests.support.apps:app"
    config = "threads = 8"
