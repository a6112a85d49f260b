"""Migration metrics: whether the database schema is as far as the code."""

from __future__ import annotations

import logging
import math
import threading
from time import monotonic
from typing import Any

from django.core.signals import request_started
from django.db import Error, connections
from django.db.migrations.exceptions import (
    BadMigrationError,
    InconsistentMigrationHistory,
    NodeNotFoundError,
)
from django.db.migrations.executor import MigrationExecutor

from gunicorn_prometheus_django.instruments import migration_metrics

logger = logging.getLogger("gunicorn_prometheus_exporter")

RECHECK_SECONDS = 60.0
"""After how long migrations that were unapplied are looked at again."""


class _Schedule:
    """When to look next: at the first request, and again while something is unapplied."""

    def __init__(self) -> None:
        self._next = -math.inf

    def is_due(self) -> bool:
        """Return whether to look now. Two threads at once may both be told so: no harm is done."""
        due = monotonic() >= self._next
        if due:
            self._next = math.inf
        return due

    def again(self) -> None:
        """Look again in a while."""
        self._next = monotonic() + RECHECK_SECONDS

    def restart(self) -> None:
        """Look at the next request."""
        self._next = -math.inf


_schedule = _Schedule()


def enable() -> None:
    """Look at the migrations when the first request comes: start-up is too early to ask."""
    migration_metrics()
    _schedule.restart()
    request_started.connect(_on_request, dispatch_uid=__name__)


def disable() -> None:
    """Look no longer."""
    request_started.disconnect(dispatch_uid=__name__)


def measure() -> int:
    """Set the gauges of all connections and return how many migrations are unapplied."""
    return sum(_measure(alias) for alias in connections if _is_real(alias))


def _is_real(alias: str) -> bool:
    # A project without databases has a "default" one that refuses everything.
    return bool(connections[alias].vendor != "unknown")


def _on_request(**signal: Any) -> None:
    if _schedule.is_due():
        # Beside the request, which must not wait for the loading of all migrations.
        threading.Thread(target=_look, name="django-migrations", daemon=True).start()


def _look() -> None:
    try:
        if measure():
            _schedule.again()
    except (Error, BadMigrationError, InconsistentMigrationHistory, NodeNotFoundError):
        logger.exception("the migrations could not be looked at")
        _schedule.again()
    finally:
        connections.close_all()


def _measure(alias: str) -> int:
    executor = MigrationExecutor(connections[alias])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    metrics = migration_metrics()
    metrics.unapplied.labels(alias).set(len(plan))
    metrics.applied.labels(alias).set(len(executor.loader.applied_migrations))
    return len(plan)
