"""The marker that leaves a view out of the metrics."""

from __future__ import annotations

from typing import Any, TypeVar

MARK = "gunicorn_prometheus_exclude"
_View = TypeVar("_View")


def exclude(view: _View) -> _View:
    """Leave the requests of this view function or view class out of the metrics."""
    setattr(view, MARK, True)
    return view


def is_excluded(view: Any) -> bool:
    """Return whether this view function, or the class it was made of, carries the marker."""
    return any(getattr(one, MARK, False) for one in (view, getattr(view, "view_class", None)))
