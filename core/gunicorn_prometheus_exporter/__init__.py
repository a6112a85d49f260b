"""Prometheus metrics for gunicorn, by one line of its configuration:

    worker_class = "gunicorn_prometheus_exporter.PrometheusWorker"

Importing this package changes nothing and imports nothing: each name is loaded when asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gunicorn_prometheus_exporter.errors import (
        MissingDependencyError,
        PrometheusExporterError,
        SettingsError,
        StorageError,
    )
    from gunicorn_prometheus_exporter.route import ROUTE_KEY, UNMATCHED, Policy, Route, route_of
    from gunicorn_prometheus_exporter.settings import Settings
    from gunicorn_prometheus_exporter.workers.asgi import PrometheusASGIWorker
    from gunicorn_prometheus_exporter.workers.eventlet import PrometheusEventletWorker
    from gunicorn_prometheus_exporter.workers.gevent import PrometheusGeventWorker
    from gunicorn_prometheus_exporter.workers.sync import PrometheusWorker
    from gunicorn_prometheus_exporter.workers.thread import PrometheusThreadWorker
    from gunicorn_prometheus_exporter.workers.uvicorn import PrometheusUvicornWorker

__version__ = "1.0.0"

_WORKERS = "gunicorn_prometheus_exporter.workers"
_MODULES = {
    "PrometheusWorker": f"{_WORKERS}.sync",
    "PrometheusThreadWorker": f"{_WORKERS}.thread",
    "PrometheusGeventWorker": f"{_WORKERS}.gevent",
    "PrometheusEventletWorker": f"{_WORKERS}.eventlet",
    "PrometheusASGIWorker": f"{_WORKERS}.asgi",
    "PrometheusUvicornWorker": f"{_WORKERS}.uvicorn",
    **dict.fromkeys(
        ("MissingDependencyError", "PrometheusExporterError", "SettingsError", "StorageError"),
        f"{__name__}.errors",
    ),
    **dict.fromkeys(("Policy", "ROUTE_KEY", "Route", "UNMATCHED", "route_of"), f"{__name__}.route"),
    "Settings": f"{__name__}.settings",
}

__all__ = [
    "ROUTE_KEY",
    "UNMATCHED",
    "MissingDependencyError",
    "Policy",
    "PrometheusASGIWorker",
    "PrometheusEventletWorker",
    "PrometheusExporterError",
    "PrometheusGeventWorker",
    "PrometheusThreadWorker",
    "PrometheusUvicornWorker",
    "PrometheusWorker",
    "Route",
    "Settings",
    "SettingsError",
    "StorageError",
    "route_of",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
