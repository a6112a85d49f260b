"""The tween that names each request, and measures it where no worker of ours does."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from pyramid.httpexceptions import HTTPException

from gunicorn_prometheus_exporter.adapter import Labeller
from gunicorn_prometheus_exporter.recorder import under_worker
from gunicorn_prometheus_exporter.route import Route, route_of
from gunicorn_prometheus_pyramid.marker import is_excluded
from gunicorn_prometheus_pyramid.measurement import LocalMeasurement
from gunicorn_prometheus_pyramid.requests import path_of
from gunicorn_prometheus_pyramid.routes import template_of

_in_request: ContextVar[bool] = ContextVar("gunicorn_prometheus_in_request", default=False)
"""Whether this thread of execution is inside a request: what begins then is a subrequest."""

Handler = Callable[[Any], Any]


def tween_factory(handler: Handler, registry: Any) -> Handler:
    """Return the tween; its settings are those of the application's registry."""
    labeller: Labeller = registry.gunicorn_prometheus

    def tween(request: Any) -> Any:
        if _in_request.get():
            return handler(request)
        token = _in_request.set(True)
        try:
            return _handle(handler, request, labeller)
        finally:
            _in_request.reset(token)

    return tween


def _handle(handler: Handler, request: Any, labeller: Labeller) -> Any:
    route = route_of(request.environ)
    local = None if route.measured or under_worker() else LocalMeasurement(request.environ, route)
    try:
        response = handler(request)
    except BaseException as error:
        _label(labeller, request, None)
        if local is not None:
            local.fail(error)
        raise
    _label(labeller, request, response)
    if local is not None:
        local.leave(response)
    return response


def _label(labeller: Labeller, request: Any, response: Any | None) -> Route:
    return labeller.label(
        request.environ,
        request,
        lambda: template_of(request, response),
        path=path_of(request.environ),
        prefix=request.environ.get("SCRIPT_NAME", ""),
        exception=_swallowed(request),
        excluded=is_excluded(request),
    )


def _swallowed(request: Any) -> BaseException | None:
    """Return what an exception view has answered; Pyramid's own HTTP errors are answers."""
    exception: BaseException | None = getattr(request, "exception", None)
    return None if isinstance(exception, HTTPException) else exception
