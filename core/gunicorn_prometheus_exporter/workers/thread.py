"""The worker for synchronous applications, several requests at a time in threads."""

from __future__ import annotations

from gunicorn.workers.gthread import ThreadWorker

from gunicorn_prometheus_exporter.workers.wsgi import ObservedWSGIWorker


class PrometheusThreadWorker(ObservedWSGIWorker, ThreadWorker):
    """gunicorn's gthread worker: `gunicorn_prometheus_exporter.PrometheusThreadWorker`."""
