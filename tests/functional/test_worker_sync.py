"""The sync worker."""

from __future__ import annotations

from tests.conformance.workers import on_gunicorns
from tests.conformance.wsgi_workers import WSGIWorkerConformance
from tests.support.versions import OLDER


@on_gunicorns(*OLDER, None)
class TestSync(WSGIWorkerConformance):
    """gunicorn's sync worker, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusWorker"
    concurrent = 1
    keeps_alive = False
