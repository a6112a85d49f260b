"""The worker for synchronous applications, one request at a time."""

from __future__ import annotations

from typing import Any

from gunicorn.workers.sync import SyncWorker

from gunicorn_prometheus_exporter.workers.wsgi import ObservedWSGIWorker


class PrometheusWorker(ObservedWSGIWorker, SyncWorker):
    """gunicorn's sync worker, observed: `gunicorn_prometheus_exporter.PrometheusWorker`."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Warn of `threads`, which gunicorn's own sync worker would have heeded."""
        super().check_config(cfg, log)
        if cfg.threads > 1:
            log.warning(
                "threads = %s has no effect with PrometheusWorker; "
                'use worker_class = "gunicorn_prometheus_exporter.PrometheusThreadWorker".',
                cfg.threads,
            )
