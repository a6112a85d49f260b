"""The metrics beyond requests: made when they are first asked for, under django-prometheus' names.

They are ordinary metrics of prometheus_client, so a worker of ours shares them among its siblings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from gunicorn_prometheus_exporter.errors import SettingsError

QUERY_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Bounds of the query durations, in seconds."""


class DatabaseMetrics:
    """What is counted of database connections, by alias and vendor."""

    def __init__(self) -> None:
        """Register the metrics; raise SettingsError where another package has them already."""
        labels = ("alias", "vendor")
        with _registering():
            self.executes = Counter("django_db_execute_total", "Queries.", labels)
            self.many = Counter("django_db_execute_many_total", "Calls of executemany.", labels)
            self.errors = Counter(
                "django_db_errors_total", "Queries that failed, by error.", (*labels, "type")
            )
            self.connections = Counter(
                "django_db_new_connections_total", "Connections made.", labels
            )
            self.durations = Histogram(
                "django_db_query_duration_seconds",
                "How long queries took.",
                labels,
                buckets=QUERY_BUCKETS,
            )


class CacheMetrics:
    """What is counted of caches, by alias."""

    def __init__(self) -> None:
        """Register the metrics; raise SettingsError where another package has them already."""
        labels = ("alias",)
        with _registering():
            self.gets = Counter("django_cache_get_total", "Keys asked of the cache.", labels)
            self.hits = Counter("django_cache_get_hits_total", "Keys the cache had.", labels)
            self.misses = Counter(
                "django_cache_get_misses_total", "Keys the cache did not have.", labels
            )
            self.failures = Counter("django_cache_get_fail_total", "Gets that raised.", labels)


class ModelMetrics:
    """What is counted of models, by `app_label.ModelName`."""

    def __init__(self) -> None:
        """Register the metrics; raise SettingsError where another package has them already."""
        labels = ("model",)
        with _registering():
            self.inserts = Counter("django_model_inserts_total", "Objects inserted.", labels)
            self.updates = Counter("django_model_updates_total", "Objects updated.", labels)
            self.deletes = Counter("django_model_deletes_total", "Objects deleted.", labels)


class MigrationMetrics:
    """How far the database schema is, by connection."""

    def __init__(self) -> None:
        """Register the metrics; raise SettingsError where another package has them already."""
        labels = ("connection",)
        # All workers look at the same tables: the one that looked last knows best.
        with _registering():
            self.applied = Gauge(
                "django_migrations_applied_total",
                "Migrations that are applied.",
                labels,
                multiprocess_mode="mostrecent",
            )
            self.unapplied = Gauge(
                "django_migrations_unapplied_total",
                "Migrations that are not applied yet.",
                labels,
                multiprocess_mode="mostrecent",
            )


@cache
def database_metrics() -> DatabaseMetrics:
    """Return the metrics of databases, always the same."""
    return DatabaseMetrics()


@cache
def cache_metrics() -> CacheMetrics:
    """Return the metrics of caches, always the same."""
    return CacheMetrics()


@cache
def model_metrics() -> ModelMetrics:
    """Return the metrics of models, always the same."""
    return ModelMetrics()


@cache
def migration_metrics() -> MigrationMetrics:
    """Return the metrics of migrations, always the same."""
    return MigrationMetrics()


@contextmanager
def _registering() -> Iterator[None]:
    try:
        yield
    except ValueError as error:  # prometheus_client's "Duplicated timeseries"
        raise SettingsError(
            f"GUNICORN_PROMETHEUS: {error}. Remove the other package that makes it, "
            "or leave DATABASE, CACHE, MODELS and MIGRATIONS to that one."
        ) from error
