"""Server hooks for a gunicorn configuration file. None is needed: `worker_class` alone is enough.

They may be imported into a configuration, or called from one's own hooks, in any number:

    from gunicorn_prometheus_exporter.hooks import default_when_ready as when_ready
"""

from __future__ import annotations

import os
from typing import Any

from gunicorn_prometheus_exporter import bootstrap
from gunicorn_prometheus_exporter.arbiter import ObservedArbiter, adopt

__all__ = [
    "default_on_exit",
    "default_on_starting",
    "default_post_fork",
    "default_when_ready",
    "default_worker_int",
    "redis_when_ready",
]


def default_on_starting(server: Any) -> None:
    """Share the metrics that the application makes from now on between workers."""
    bootstrap.install()


def default_when_ready(server: Any) -> None:
    """Observe the master and start the exporter, if that has not happened yet."""
    adopt(server)


def redis_when_ready(server: Any) -> None:
    """Do as `default_when_ready`, with metrics shared through Redis as if `REDIS_ENABLED=true`."""
    if not isinstance(server, ObservedArbiter):
        os.environ.setdefault("REDIS_ENABLED", "true")
    adopt(server)


def default_post_fork(server: Any, worker: Any) -> None:
    """Do nothing: a worker takes its slot by itself."""


def default_worker_int(worker: Any) -> None:
    """Do nothing: a worker notes its own end."""


def default_on_exit(server: Any) -> None:
    """Stop the exporter and remove what this run has written, if that has not happened yet."""
    if isinstance(server, ObservedArbiter):
        server.prometheus.close()
