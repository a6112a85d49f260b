"""What all framework adapters share: their settings, and the one place that fills in a `Route`.

An adapter brings a resolver (framework request -> route template) and calls `Labeller.label()`
while it holds the request. Everything optional happens here, once, for every framework: exclusion,
extra labels, policies, and the promise that no failure of ours reaches the request.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from typing import Any

from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.route import UNMATCHED, Policy, Route, route_of
from gunicorn_prometheus_exporter.settings import parse_bool, parse_buckets

logger = logging.getLogger("gunicorn_prometheus_exporter")

LabelSource = Callable[[Any], object]
"""Called with the framework's request, returns the value of one extra label."""

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_RESERVED_LABELS = frozenset({"method", "endpoint", "status", "error_type", "le", "worker_id"})


@dataclass(frozen=True)
class AdapterSettings:
    """What every adapter lets its user set; each field is spelled in the framework's own way.

    exclude: route templates or paths to leave out; `*` is a wildcard (`/healthz`, `/static/*`).
    labels: extra labels of the per-endpoint metrics, from name to a callable on the request.
    buckets: bounds of the request duration histogram in seconds; None for the worker's setting.
    group_status: label statuses as `2xx` instead of `200`.
    include_prefix: put the deployment prefix (`SCRIPT_NAME`, `root_path`) before each endpoint.
    metrics_path: serve the metrics inside the application at this path; empty for not at all.
    metrics_auth: called with the request of that path; a false answer is a 403.
    """

    exclude: tuple[str, ...] = ()
    labels: Mapping[str, LabelSource] = field(default_factory=dict)
    buckets: tuple[float, ...] | None = None
    group_status: bool = False
    include_prefix: bool = False
    metrics_path: str = ""
    metrics_auth: Callable[[Any], bool] | None = None

    def __post_init__(self) -> None:
        for name in self.labels:
            if not _LABEL_NAME.match(name) or name.startswith("__") or name in _RESERVED_LABELS:
                raise SettingsError(f"labels: {name!r} cannot be the name of an extra label.")
        if self.metrics_path and not self.metrics_path.startswith("/"):
            raise SettingsError(f"metrics_path={self.metrics_path!r}: it must start with a slash.")

    @classmethod
    def names(cls) -> frozenset[str]:
        """Return the names of all settings."""
        return frozenset(f.name for f in fields(cls))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> AdapterSettings:
        """Return the settings in `values`, whose strings are parsed; raise SettingsError."""
        unknown = sorted(set(values) - cls.names())
        if unknown:
            allowed = ", ".join(sorted(cls.names()))
            raise SettingsError(f"unknown setting {unknown[0]!r}; known are: {allowed}.")
        return cls(**{name: _coerce(name, value) for name, value in values.items()})


def _patterns(value: Any) -> tuple[str, ...]:
    parts = value.split() if isinstance(value, str) else value
    if not isinstance(parts, Collection) or not all(isinstance(part, str) for part in parts):
        raise ValueError("a list of paths or route templates")
    return tuple(parts)


def _labels(value: Any) -> Mapping[str, LabelSource]:
    if not isinstance(value, Mapping) or not all(callable(source) for source in value.values()):
        raise ValueError("a mapping from label names to callables")
    return dict(value)


def _buckets(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else ",".join(map(str, value))
    return parse_buckets(text)


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        return parse_bool(value)
    if not isinstance(value, bool):
        raise ValueError("a boolean")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def _optional_callable(value: Any) -> Callable[[Any], bool] | None:
    if value is not None and not callable(value):
        raise ValueError("a callable")
    return value  # type: ignore[no-any-return]


_COERCIONS: Mapping[str, Callable[[Any], Any]] = {
    "exclude": _patterns,
    "labels": _labels,
    "buckets": _buckets,
    "group_status": _boolean,
    "include_prefix": _boolean,
    "metrics_path": _string,
    "metrics_auth": _optional_callable,
}


def _coerce(name: str, value: Any) -> Any:
    try:
        return _COERCIONS[name](value)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{name}={value!r} cannot be used: it must be {error}.") from None


class Labeller:
    """Fills in the `Route` of requests by one application's settings."""

    def __init__(self, settings: AdapterSettings) -> None:
        """Prepare everything that does not depend on the request."""
        self.settings = settings
        self.policy = Policy(settings.buckets, settings.group_status)
        self._excluded = [re.compile(fnmatch.translate(pattern)) for pattern in settings.exclude]
        self._reported: set[str] = set()

    def label(
        self,
        environ: MutableMapping[str, Any],
        request: Any,
        resolve: Callable[[], str | None],
        *,
        path: str,
        prefix: str = "",
        exception: BaseException | None = None,
        excluded: bool = False,
    ) -> Route:
        """Fill in and return the route of the request in `environ`; never raises.

        resolve: returns the template, with or without its leading slash, or None for no route.
        path: the path as the application sees it, without the deployment prefix.
        prefix: the deployment prefix, used where the settings ask for it.
        exception: what the framework turned into a response.
        excluded: the view carries the adapter's marker that leaves it out.
        """
        route = route_of(environ)
        route.policy = self.policy
        if exception is not None:
            route.exception = exception
        template = self._guard("endpoint", resolve)
        route.endpoint = self._endpoint(template, prefix)
        route.excluded = excluded or self._is_excluded(route.endpoint, template, path)
        if self.settings.labels and not route.excluded:
            route.labels = tuple(
                (name, self._label(name, source, request))
                for name, source in self.settings.labels.items()
            )
        return route

    def _endpoint(self, template: str | None, prefix: str) -> str:
        if template is None:
            return UNMATCHED
        if template.startswith("traversal:"):
            return template
        endpoint = "/" + template.lstrip("/")
        return prefix.rstrip("/") + endpoint if self.settings.include_prefix else endpoint

    def _is_excluded(self, endpoint: str, template: str | None, path: str) -> bool:
        names = (endpoint, path, "/" + template.lstrip("/") if template else path)
        return any(pattern.match(name) for pattern in self._excluded for name in names)

    def _label(self, name: str, source: LabelSource, request: Any) -> str:
        def text() -> str:
            value = source(request)
            return "" if value is None else str(value)[:128]

        return self._guard(f"label {name}", text) or ""

    def _guard(self, what: str, call: Callable[[], Any]) -> Any:
        """Return what `call` returns, or None where it raises: no label is worth a request."""
        try:
            return call()
        except Exception:
            if what not in self._reported:
                self._reported.add(what)
                logger.exception("the %s of a request could not be found; reported once", what)
            return None
