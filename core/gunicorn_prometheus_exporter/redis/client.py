"""Connections to Redis, Valkey, a cluster or what Sentinels point to, through redis-py.

redis-py is imported when a connection is opened, so that only the exporter process pays for it.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from gunicorn_prometheus_exporter.errors import MissingDependencyError, SettingsError
from gunicorn_prometheus_exporter.settings import Settings

if TYPE_CHECKING:
    import redis


def require_redis(settings: Settings) -> None:
    """Raise MissingDependencyError or SettingsError where Redis cannot be used as configured."""
    if importlib.util.find_spec("redis") is None:
        raise MissingDependencyError(
            "metrics are to be shared through Redis, and the package redis is not installed: "
            'pip install "gunicorn-prometheus-exporter[redis]"'
        )
    parse_sentinels(settings.redis_sentinels)


def parse_sentinels(text: str) -> list[tuple[str, int]]:
    """Return host and port of each of `host:port,host:port`; raises SettingsError."""
    found = []
    for part in filter(None, (word.strip() for word in text.split(","))):
        host, _, port = part.rpartition(":")
        if not host or not port.isdecimal():
            raise SettingsError(
                f"GUNICORN_PROMETHEUS_REDIS_SENTINELS={text!r} cannot be used: it must be "
                "host:port,host:port and so on."
            )
        found.append((host.strip("[]"), int(port)))
    return found


def load_redis() -> None:
    """Import what a connection needs, while this process may still read it."""
    import redis

    redis.Redis().close()  # imports more, and connects to nothing
    "".encode("idna")  # what looking up a host imports


def open_client(settings: Settings) -> redis.Redis:
    """Return a client; raises what redis-py raises, for a cluster also if it cannot be reached."""
    import redis

    options = _options(settings)
    if settings.redis_sentinels:
        return _from_sentinels(settings, options)
    if settings.redis_cluster:
        return _cluster(settings, options)
    if settings.redis_url:
        return redis.Redis.from_url(settings.redis_url, **options)
    return redis.Redis(
        host=settings.redis_host, port=settings.redis_port, db=settings.redis_db, **options
    )


def _options(settings: Settings) -> dict[str, Any]:
    """Return the options of each connection. Nothing is retried in there: we know better when."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "retry": Retry(NoBackoff(), 0),
    }
    if settings.redis_username:
        options["username"] = settings.redis_username
    if settings.redis_password:
        options["password"] = settings.redis_password
    return options


def _from_sentinels(settings: Settings, options: dict[str, Any]) -> redis.Redis:
    """Return a client of the master that the Sentinels name.

    A REDIS_URL says how to talk to it: user, password, database, and TLS.
    """
    from redis import connection, sentinel

    given: dict[str, Any] = {"db": settings.redis_db}
    if settings.redis_url:
        parsed = connection.parse_url(settings.redis_url)  # type: ignore[no-untyped-call]
        where = ("host", "port", "path", "connection_class")
        given = {name: value for name, value in parsed.items() if name not in where}
        given["ssl"] = settings.redis_url.startswith("rediss:")
    timeouts = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
    hosts = parse_sentinels(settings.redis_sentinels)
    sentinels: Any = sentinel.Sentinel(hosts, sentinel_kwargs=timeouts, **{**options, **given})  # type: ignore[no-untyped-call]
    client: redis.Redis = sentinels.master_for(settings.redis_sentinel_service)
    return client


def _cluster(settings: Settings, options: dict[str, Any]) -> redis.Redis:
    import redis

    if settings.redis_url:
        client = redis.RedisCluster.from_url(settings.redis_url, **options)
    else:
        client = redis.RedisCluster(host=settings.redis_host, port=settings.redis_port, **options)
    return client  # type: ignore[return-value]  # the few commands that we use it has too


def reason(error: BaseException) -> str:
    """Return why Redis cannot be used, without anything that could hold a password."""
    import redis

    for kind, text in (
        (redis.AuthenticationError, "it refuses the user name or password"),
        (redis.TimeoutError, "it does not answer in time"),
        (redis.exceptions.ReadOnlyError, "it is a read-only replica"),
        (redis.exceptions.OutOfMemoryError, "it is out of memory"),
        (redis.exceptions.NoPermissionError, "it does not permit our commands"),
        (redis.BusyLoadingError, "it is loading its data"),
    ):
        if isinstance(error, kind):
            return text
    name = type(error).__name__
    lost = isinstance(
        error, (redis.ConnectionError, redis.exceptions.RedisClusterException, OSError)
    )
    return f"it cannot be reached ({name})" if lost else name
