"""The gevent worker."""

from __future__ import annotations

from tests.conformance.workers import WorkerConformance, on_gunicorns
from tests.support.versions import OLDER


@on_gunicorns(*OLDER, None)
class TestGevent(WorkerConformance):
    """Gevent worker, observed."""

    worker_class = "gunicorn_prometheus_exporter.PrometheusGeventWorker"
    application = "tests.support.apps:app"
