"""The marker that leaves an endpoint out of the metrics."""

from __future__ import annotations

from typing import TypeVar

MARK = "gunicorn_prometheus_exclude"
_Endpoint = TypeVar("_Endpoint")


def exclude(endpoint: _Endpoint) -> _Endpoint:
    """Leave the requests of this endpoint, a function or a class, out of the metrics."""
    setattr(endpoint, MARK, True)
    return endpoint


def is_excluded(endpoint: object) -> bool:
    """Return whether this endpoint carries the marker."""
    return bool(getattr(endpoint, MARK, False))
