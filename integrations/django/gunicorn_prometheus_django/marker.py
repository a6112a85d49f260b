"""The marker that leaves one view out of the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

MARK = "gunicorn_prometheus_exclude"

_View = TypeVar("_View", bound=Callable[..., Any])


def exclude(view: _View) -> _View:
    """Mark a view function, a view class or the result of `as_view()`: no metric counts it.

    Put it outermost, so that no other decorator hides the mark.
    """
    setattr(view, MARK, True)
    return view


def is_excluded(view: Any) -> bool:
    """Return whether a resolved view, or the class behind it, carries the mark."""
    # `view_class` is Django's, `cls` Django REST framework's name for the class of `as_view()`.
    behind = getattr(view, "view_class", None) or getattr(view, "cls", None)
    return bool(getattr(view, MARK, False) or getattr(behind, MARK, False))
