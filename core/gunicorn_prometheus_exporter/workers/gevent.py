"""The worker for many slow connections on gevent's greenlets."""

from __future__ import annotations

from gunicorn_prometheus_exporter.workers.requirements import require

# gunicorn >= 26.1 imports packaging in its gevent worker without requiring it.
require("PrometheusGeventWorker", "gevent", "gevent", "packaging")

from gunicorn.workers.ggevent import GeventWorker  # noqa: E402

from gunicorn_prometheus_exporter.workers.wsgi import ObservedWSGIWorker  # noqa: E402


class PrometheusGeventWorker(ObservedWSGIWorker, GeventWorker):
    """gunicorn's gevent worker, observed: `gunicorn_prometheus_exporter.PrometheusGeventWorker`."""
