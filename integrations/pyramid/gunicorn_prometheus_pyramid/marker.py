"""The marker that leaves one view out of the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

MARK = "gunicorn_prometheus_exclude"

_EXCLUDED = "gunicorn_prometheus_pyramid.excluded"

_View = TypeVar("_View", bound=Callable[..., Any])


def exclude(view: _View) -> _View:
    """Mark a view function, a view class or one of its methods: no metric counts it."""
    setattr(view, MARK, True)
    return view


def tell_excluded(view: Callable[..., Any], info: Any) -> Callable[..., Any]:
    """Derive a view that tells the tween to leave its requests out, where it carries the mark."""
    if not _is_marked(info.original_view, info.options.get("attr")):
        return view

    def excluded_view(context: Any, request: Any) -> Any:
        request.environ[_EXCLUDED] = True
        return view(context, request)

    return excluded_view


def is_excluded(request: Any) -> bool:
    """Return whether a marked view has seen `request`."""
    return _EXCLUDED in request.environ


def _is_marked(view: Any, attribute: str | None) -> bool:
    method = getattr(view, attribute, None) if attribute else None
    return bool(getattr(view, MARK, False) or getattr(method, MARK, False))
