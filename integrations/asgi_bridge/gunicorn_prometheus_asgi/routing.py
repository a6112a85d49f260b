"""Finds the route template of a request by matching it against the application's routes again.

No attribute of `scope` names the route rightly in every version of Starlette and FastAPI. What is
the same in all of them is how routes match; so this walks them as the router does, on the scope
as it was before the router wrote into it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gunicorn_prometheus_exporter.asgi import Scope

REST = "/{path:path}"
"""What stands for everything below a mount that cannot be looked into."""

_WRITTEN_BY_ROUTING = ("router", "route", "endpoint", "path_params", "fastapi")


@dataclass(frozen=True, slots=True)
class Found:
    """The route of a request.

    template: with the templates of the mounts above, as they are written in the application.
    endpoint: the function or class that answers; None for a mount that cannot be looked into.
    """

    template: str
    endpoint: object = None


@dataclass(frozen=True, slots=True)
class Entry:
    """Where the search for a route begins: a router, and the scope as that router gets it.

    endpoint: what answered, if the router has told; it spares trying all other routes.
    """

    router: Any
    scope: Scope
    endpoint: object = None

    @property
    def root_path(self) -> str:
        """The deployment prefix."""
        root_path: str = self.scope.get("root_path", "")
        return root_path

    @property
    def path(self) -> str:
        """The path without the deployment prefix."""
        return route_path(self.scope)

    def find(self) -> Found | None:
        """Return the route that answers, or None for none."""
        if self.router is None:
            return None
        found = _walk(self.router, self.scope, "", self.endpoint)
        if found is None and self.endpoint is not None:  # a mount, within which all is open
            found = _walk(self.router, self.scope, "", None)
        return found


def entry(app: object, before: Scope, live: Scope) -> Entry:
    """Return where to look for the route of a request that `app` handles.

    before: a copy of the scope from before the request was routed.
    live: the scope that the application was called with, which Starlette adds itself to.
    """
    endpoint = live.get("endpoint")
    if endpoint is before.get("endpoint"):
        endpoint = None
    if "router" in before:  # in a mounted application: what counts is the one it is mounted in
        kept = {key: before[key] for key in before if key not in _WRITTEN_BY_ROUTING}
        scope = {**kept, "root_path": before.get("app_root_path", "")}
        return Entry(before["router"], scope, endpoint)
    router = _router_in(app) or _router_in(live.get("app"))
    return Entry(router, _entered(router, before), endpoint)


def route_path(scope: Scope) -> str:
    """Return the path that routes are matched with: without `root_path`, where it starts so."""
    path: str = scope["path"]
    rest = path.removeprefix(scope.get("root_path", ""))
    return rest if not rest or rest.startswith("/") else path


def _router_in(app: Any) -> Any:
    """Return `app`, or the nearest application that it wraps, that has routes; or None."""
    for _ in range(100):
        if app is None or _has_routes(app):
            break
        app = getattr(app, "app", None)
    return app


def _has_routes(app: Any) -> bool:
    routes = getattr(app, "routes", None)
    return isinstance(routes, Sequence) and all(hasattr(route, "matches") for route in routes[:1])


def _entered(router: Any, scope: Scope) -> Scope:
    """Return the scope as `router` sees it: FastAPI puts its own `root_path` there."""
    root_path = getattr(router, "root_path", "")
    return {**scope, "root_path": root_path} if root_path else scope


def _walk(
    app: Any, scope: Scope, prefix: str, endpoint: object, *, redirected: bool = False
) -> Found | None:
    matched = _match(app.routes, scope, endpoint)
    if matched is not None:
        return _descend(*matched, scope, prefix, endpoint, redirected=redirected)
    router = getattr(app, "router", app)
    if not redirected and getattr(router, "redirect_slashes", False) and route_path(scope) != "/":
        found = _walk(app, _slash_toggled(scope), prefix, None, redirected=True)
        if found is not None:
            return found
    return None if redirected else _frontend(router, scope, prefix)


def _match(routes: Iterable[Any], scope: Scope, endpoint: object) -> tuple[Any, Scope] | None:
    """Return the route that a router chooses, and what it adds to the scope."""
    from starlette.routing import Match  # whose routes these are

    partial = None
    for route in _candidates(routes, endpoint):
        match, child = route.matches(scope)
        if match is Match.FULL:
            return route, child
        if match is Match.PARTIAL and partial is None:
            partial = route, child
    return partial


def _candidates(routes: Iterable[Any], endpoint: object) -> Iterator[Any]:
    """Yield the routes that may lead to `endpoint`, all if it is None; mounts always may.

    Among them the router's choice is the first that matches, as it is among all of them.
    """
    for route in routes:
        if not hasattr(route, "path") and not hasattr(route, "host"):
            # FastAPI >= 0.137 keeps the routers that an application includes
            yield from _candidates(_routes_within(route), endpoint)
        elif endpoint is None or getattr(route, "endpoint", None) in (None, endpoint):
            yield route


def _routes_within(included: Any) -> Iterable[Any]:
    contexts: Iterable[Any] = sys.modules["fastapi.routing"].iter_route_contexts([included])
    return contexts


def _descend(
    route: Any, child: Scope, scope: Scope, prefix: str, endpoint: object, *, redirected: bool
) -> Found | None:
    is_mount = "root_path" in child
    if not is_mount and getattr(route, "host", None) is None:
        return Found(prefix + route.path, route.endpoint)
    if is_mount:
        prefix += route.path
    router = _router_in(route.app)
    if router is None:
        return Found(prefix + REST)
    within = _entered(router, {**scope, **child})
    return _walk(router, within, prefix, endpoint, redirected=redirected)


def _slash_toggled(scope: Scope) -> Scope:
    path = scope["path"]
    return {**scope, "path": path.rstrip("/") if path.endswith("/") else path + "/"}


def _frontend(router: Any, scope: Scope, prefix: str) -> Found | None:
    """Return FastAPI's static frontend that answers what no route does; the most specific one."""
    found = [
        path.rstrip("/")
        for group in getattr(router, "_iter_low_priority_routes", tuple)()
        for route in getattr(group, "original_route", group).routes
        for path in [getattr(group, "frontend_prefix", "") + route.path]
        if route.matches_with_path(scope, path.rstrip("/") or "/")[0].name != "NONE"
    ]
    return Found(prefix + max(found, key=len) + REST) if found else None
