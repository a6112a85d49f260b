"""The settings of the exporter: one frozen object, built once from the environment."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit, urlunsplit

from gunicorn_prometheus_exporter.errors import SettingsError

PREFIX = "GUNICORN_PROMETHEUS_"
"""What our own environment variables start with; the others keep the names users know."""

DEFAULT_DURATION_BUCKETS: tuple[float, ...] = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})

_T = TypeVar("_T")


def parse_bool(text: str) -> bool:
    """Return the boolean that `text` spells; raise ValueError where it spells none."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("a boolean: true, false, 1, 0, yes, no, on or off")


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def _seconds(low: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= low):
            raise ValueError(f"a number of seconds, at least {low:g}")
        return value

    return parse


def parse_buckets(text: str) -> tuple[float, ...]:
    """Return histogram bounds from increasing numbers separated by commas; raise ValueError."""
    try:
        bounds = tuple(float(part) for part in text.split(","))
    except ValueError:
        bounds = ()
    increasing = all(low < high for low, high in pairwise(bounds))
    if not bounds or not increasing or not all(map(math.isfinite, bounds)):
        raise ValueError("increasing numbers separated by commas, such as 0.1,0.5,1")
    return bounds


def _text(text: str) -> str:
    return text


def _redis_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("a URL that starts with redis://, rediss:// or unix://")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("a URL such as unix:///run/redis.sock")
    if parts.scheme != "unix" and not _is_network_url(parts):
        raise ValueError("a URL such as redis://host:6379/0")
    return text


def _is_network_url(parts: SplitResult) -> bool:
    try:
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return bool(parts.hostname) and has_port and re.fullmatch(r"/?|/\d+", parts.path) is not None


_PORT = _integer(1, 65535)


def _setting(
    variable: str, parse: Callable[[str], _T], default: _T, *, secret: bool = False
) -> Any:
    """Declare a field that is read from the environment variable `variable` by `parse`."""
    metadata = {"variable": variable, "parse": parse, "secret": secret}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Everything a user can set. Defaults work with nothing set.

    Times are in seconds, sizes in bytes. `None` and the empty string mean "not set".
    """

    metrics_port: int = _setting("PROMETHEUS_METRICS_PORT", _integer(0, 65535), 9091)
    bind_address: str = _setting("PROMETHEUS_BIND_ADDRESS", _text, "0.0.0.0")
    multiproc_dir: str = _setting("PROMETHEUS_MULTIPROC_DIR", _text, "")
    workers: int = _setting("GUNICORN_WORKERS", _integer(1, 10_000), 1)

    ssl_certfile: str = _setting("PROMETHEUS_SSL_CERTFILE", _text, "")
    ssl_keyfile: str = _setting("PROMETHEUS_SSL_KEYFILE", _text, "")
    ssl_client_cafile: str = _setting("PROMETHEUS_SSL_CLIENT_CAFILE", _text, "")
    ssl_client_auth_required: bool = _setting(
        "PROMETHEUS_SSL_CLIENT_AUTH_REQUIRED", parse_bool, False
    )

    redis_enabled: bool = _setting("REDIS_ENABLED", parse_bool, False)
    redis_url: str = _setting("REDIS_URL", _redis_url, "", secret=True)
    redis_host: str = _setting("REDIS_HOST", _text, "127.0.0.1")
    redis_port: int = _setting("REDIS_PORT", _PORT, 6379)
    redis_db: int = _setting("REDIS_DB", _integer(0, 1_000_000), 0)
    redis_username: str = _setting("REDIS_USERNAME", _text, "")
    redis_password: str = _setting("REDIS_PASSWORD", _text, "", secret=True)
    redis_key_prefix: str = _setting("REDIS_KEY_PREFIX", _text, "gunicorn")
    redis_app: str = _setting(PREFIX + "REDIS_APP", _text, "default")
    redis_instance: str = _setting(PREFIX + "REDIS_INSTANCE", _text, "")
    redis_sentinels: str = _setting(PREFIX + "REDIS_SENTINELS", _text, "")
    redis_sentinel_service: str = _setting(PREFIX + "REDIS_SENTINEL_SERVICE", _text, "mymaster")
    redis_cluster: bool = _setting(PREFIX + "REDIS_CLUSTER", parse_bool, False)
    redis_interval: float = _setting(PREFIX + "REDIS_INTERVAL", _seconds(0.05), 1.0)
    redis_timeout: float = _setting(PREFIX + "REDIS_TIMEOUT", _seconds(0.01), 1.0)
    redis_live_seconds: float = _setting(PREFIX + "REDIS_LIVE_SECONDS", _seconds(1), 30.0)
    redis_compact_seconds: float = _setting(
        PREFIX + "REDIS_COMPACT_SECONDS", _seconds(60), 7 * 86400.0
    )
    redis_expire_seconds: float = _setting(
        PREFIX + "REDIS_EXPIRE_SECONDS", _seconds(60), 90 * 86400.0
    )
    sidecar: bool = _setting(PREFIX + "SIDECAR", parse_bool, False)

    max_series: int = _setting(PREFIX + "MAX_SERIES", _integer(1, 10_000_000), 10_000)
    max_endpoints: int = _setting(PREFIX + "MAX_ENDPOINTS", _integer(1, 1_000_000), 200)
    infer_endpoints: bool = _setting(PREFIX + "INFER_ENDPOINTS", parse_bool, True)
    duration_buckets: tuple[float, ...] = _setting(
        PREFIX + "DURATION_BUCKETS", parse_buckets, DEFAULT_DURATION_BUCKETS
    )

    def __post_init__(self) -> None:
        if self.ssl_certfile and not self.ssl_keyfile:
            raise SettingsError("PROMETHEUS_SSL_CERTFILE is set: set PROMETHEUS_SSL_KEYFILE too.")
        if self.ssl_keyfile and not self.ssl_certfile:
            raise SettingsError("PROMETHEUS_SSL_KEYFILE is set: set PROMETHEUS_SSL_CERTFILE too.")
        if self.ssl_client_auth_required and not self.ssl_client_cafile:
            raise SettingsError(
                "PROMETHEUS_SSL_CLIENT_AUTH_REQUIRED is set: set PROMETHEUS_SSL_CLIENT_CAFILE too."
            )
        if self.sidecar and not self.redis:
            raise SettingsError(
                "GUNICORN_PROMETHEUS_SIDECAR is set: set REDIS_ENABLED or REDIS_URL too, or there "
                "are no metrics anywhere."
            )
        for name in ("ssl_certfile", "ssl_keyfile", "ssl_client_cafile"):
            self._require_readable(name)

    def _require_readable(self, name: str) -> None:
        path = getattr(self, name)
        if path and not os.access(path, os.R_OK):
            raise SettingsError(f"PROMETHEUS_{name.upper()}={path!r}: this file cannot be read.")

    @property
    def redis(self) -> bool:
        """Whether metrics are shared through Redis: by `REDIS_ENABLED` or by a `REDIS_URL`."""
        return self.redis_enabled or bool(self.redis_url)

    @property
    def redis_display_url(self) -> str:
        """The Redis in use as a URL without its password, fit for logs."""
        if self.redis_sentinels:
            return f"sentinel://{self.redis_sentinels}/{self.redis_sentinel_service}"
        if not self.redis_url:
            return f"redis://{self.redis_host}:{self.redis_port}/{self.redis_db}"
        parts = urlsplit(self.redis_url)
        netloc = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, netloc, parts.path, "", ""))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings that `environ` spells; raise SettingsError naming a wrong one."""
        given = [f for f in fields(cls) if environ.get(f.metadata["variable"], "") != ""]
        return cls(**{f.name: _parse(f.metadata, environ) for f in given})


def _parse(metadata: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    variable = metadata["variable"]
    text = environ[variable]
    try:
        return metadata["parse"](text)
    except ValueError as error:
        shown = "(hidden)" if metadata["secret"] else repr(text)
        raise SettingsError(f"{variable}={shown} cannot be used: it must be {error}.") from None
