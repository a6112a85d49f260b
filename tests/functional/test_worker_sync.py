"""The sync worker."""

from __future__ import annotations

from tests.conformance.workers import WorkerConformance, on_gunicorns
from tests.support.versions import OLDER


@on_gunicorns(*OLDER, None)
class TestSync(WorkerConformance):
    """gunicorn's sync worker, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusWorker"
    application = "tests.support.apps:app"
    concurrent = 1
    keeps_alive = False
