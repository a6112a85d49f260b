"""Database metrics, through Django's own instrumentation points: no backend is replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from gunicorn_prometheus_django.instruments import DatabaseMetrics, database_metrics


class CountQueries:
    """An execute wrapper that counts and times the queries of one connection."""

    def __init__(self, metrics: DatabaseMetrics, alias: str, vendor: str) -> None:
        """Prepare the series of the connection that is called `alias`."""
        self._labels = (alias, vendor)
        self._executes = metrics.executes.labels(alias, vendor)
        self._many = metrics.many.labels(alias, vendor)
        self._durations = metrics.durations.labels(alias, vendor)
        self._errors = metrics.errors

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: Mapping[str, Any],
    ) -> Any:
        """Run the query, as `django.db.backends` asks of an execute wrapper."""
        (self._many if many else self._executes).inc()
        started = perf_counter()
        try:
            return execute(sql, params, many, context)
        except Error as error:
            self._errors.labels(*self._labels, type(error).__name__).inc()
            raise
        finally:
            self._durations.observe(perf_counter() - started)


def enable() -> None:
    """Count the queries of all connections from here on, also of those that are open already."""
    database_metrics()
    connection_created.connect(_on_connection, dispatch_uid=__name__)
    for connection in connections.all(initialized_only=True):
        _wrap(connection)


def disable() -> None:
    """Count no longer."""
    connection_created.disconnect(dispatch_uid=__name__)
    for connection in connections.all(initialized_only=True):
        wrappers = connection.execute_wrappers
        wrappers[:] = [each for each in wrappers if not isinstance(each, CountQueries)]


def _on_connection(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    database_metrics().connections.labels(connection.alias, connection.vendor).inc()
    _wrap(connection)


def _wrap(connection: BaseDatabaseWrapper) -> None:
    # The wrapper stays while Django closes and opens the connection behind it.
    if not any(isinstance(each, CountQueries) for each in connection.execute_wrappers):
        wrapper = CountQueries(database_metrics(), connection.alias, connection.vendor)
        connection.execute_wrappers.append(wrapper)
