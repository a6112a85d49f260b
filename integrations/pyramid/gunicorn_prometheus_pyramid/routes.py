"""What answers a request: a route, or a view of a resource found by traversal."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pyramid.httpexceptions import HTTPNotFound
from pyramid.interfaces import (
    IMultiView,
    IRoute,
    IRoutesMapper,
    ISecuredView,
    IView,
    IViewClassifier,
)
from zope.interface import providedBy

from gunicorn_prometheus_pyramid.patterns import readable

_VIEW_KINDS = (IView, ISecuredView, IMultiView)


def template_of(request: Any, response: Any | None) -> str | None:
    """Return the template of what answers `request`, or None where nothing does.

    To be called after the response is made; `response` is None where an exception escapes.
    """
    route = getattr(request, "matched_route", None)
    if route is None:
        if "request_iface" not in vars(request):
            route = _route_on_demand(request)
        elif response is not None and _adds_slash(request, response):
            route = _route_with_slash(request)
    return _traversal(request, response) if route is None else readable(route.pattern)


def _route_on_demand(request: Any) -> IRoute | None:
    """Return the route of a request that another tween answered before Pyramid asked for it."""
    mapper = request.registry.queryUtility(IRoutesMapper)
    return None if mapper is None else mapper(request)["route"]


def _route_with_slash(request: Any) -> IRoute | None:
    """Return the route that a not found view with `append_slash` redirects to."""
    mapper = request.registry.queryUtility(IRoutesMapper)
    routes = () if mapper is None else mapper.get_routes()
    path = request.path_info + "/"
    return next((route for route in routes if route.match(path) is not None), None)


def _adds_slash(request: Any, response: Any) -> bool:
    if not 300 <= response.status_int < 400 or request.path_info.endswith("/"):
        return False
    return urlsplit(response.location or "").path.endswith("/")


def _traversal(request: Any, response: Any | None) -> str | None:
    """Return the label of the view that traversal found.

    On a 404 there is none: what Pyramid calls the view name is then a piece of the path. The same
    holds where a not found view answers with another status, so the view has to exist.
    """
    context = getattr(request, "context", None)
    if context is None or isinstance(getattr(request, "exception", None), HTTPNotFound):
        return None
    if response is not None and response.status_int == 404:
        return None
    name = request.view_name
    if not _has_view(request, context, name):
        return None
    label = f"traversal:{type(context).__name__}"
    return f"{label}/{name}" if name else label


def _has_view(request: Any, context: Any, name: str) -> bool:
    required = (IViewClassifier, request.request_iface, providedBy(context))
    lookup = request.registry.adapters.lookup
    return any(lookup(required, kind, name=name) is not None for kind in _VIEW_KINDS)
