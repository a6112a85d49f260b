"""Cache metrics: the `get` of each cache counts, and the backend stays the one that was set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from gunicorn_prometheus_django.instruments import cache_metrics

_ABSENT = object()
_COUNTS = "_gunicorn_prometheus_counts"


def enable() -> None:
    """Count the gets of all caches from here on, also of those that are in use already."""
    cache_metrics()
    if "create_connection" not in vars(caches):
        # Django makes a cache object per alias and thread here, and signals nothing.
        caches.create_connection = _counting(caches.create_connection)
    for alias in caches:
        if hasattr(caches._connections, alias):
            _count_gets(caches[alias], alias)


def disable() -> None:
    """Count no longer."""
    vars(caches).pop("create_connection", None)
    for cache in caches.all(initialized_only=True):
        if vars(cache).pop(_COUNTS, False):
            for method in ("get", "get_many"):
                vars(cache).pop(method, None)


def _counting(create: Callable[[str], BaseCache]) -> Callable[[str], BaseCache]:
    def create_connection(alias: str) -> BaseCache:
        cache = create(alias)
        _count_gets(cache, alias)
        return cache

    return create_connection


def _count_gets(cache: BaseCache, alias: str) -> None:
    if _COUNTS in vars(cache):
        return
    counted = _CountedGets(cache, alias)
    setattr(cache, _COUNTS, True)
    cache.get = counted.get
    # Django's own `get_many` asks `get` for each key, which counts then.
    if type(cache).get_many is not BaseCache.get_many:
        cache.get_many = counted.get_many


class _CountedGets:
    """The reading methods of one cache object, with their counts."""

    def __init__(self, cache: BaseCache, alias: str) -> None:
        metrics = cache_metrics()
        self._get: Callable[..., Any] = cache.get
        self._get_many: Callable[..., dict[Any, Any]] = cache.get_many
        self._gets = metrics.gets.labels(alias)
        self._hits = metrics.hits.labels(alias)
        self._misses = metrics.misses.labels(alias)
        self._failures = metrics.failures.labels(alias)

    def get(self, key: Any, default: Any = None, version: Any = None, **options: Any) -> Any:
        """Return the value of `key` as the cache does."""
        self._gets.inc()
        with self._failures.count_exceptions():
            value = self._get(key, _ABSENT, version=version, **options)
        if value is _ABSENT:
            self._misses.inc()
            return default
        self._hits.inc()
        return value

    def get_many(self, keys: Iterable[Any], version: Any = None, **options: Any) -> dict[Any, Any]:
        """Return the values of `keys` as the cache does."""
        wanted = list(keys)
        self._gets.inc(len(wanted))
        with self._failures.count_exceptions():
            found = self._get_many(wanted, version=version, **options)
        self._hits.inc(len(found))
        self._misses.inc(len(wanted) - len(found))
        return found
