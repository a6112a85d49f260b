"""The ASGI middleware: names the requests of an application for the metrics."""

from __future__ import annotations

from typing import Any

from gunicorn_prometheus_asgi import routing
from gunicorn_prometheus_asgi.exceptions import NotedExceptions, note_behind_base_http_middleware
from gunicorn_prometheus_asgi.exposition import send_forbidden, send_metrics
from gunicorn_prometheus_asgi.marker import is_excluded
from gunicorn_prometheus_exporter.adapter import AdapterSettings, Labeller
from gunicorn_prometheus_exporter.asgi import Application, Message, Receive, Scope, Send, measure
from gunicorn_prometheus_exporter.recorder import local_recorder, under_worker
from gunicorn_prometheus_exporter.route import UNMATCHED, Route, route_of

_SEEN = "gunicorn_prometheus_asgi.seen"


class PrometheusMiddleware:
    """Names each HTTP request of an ASGI application; websockets and lifespan pass through.

    Added with `app.add_middleware(PrometheusMiddleware, ...)` or wrapped around the application:
    `app = PrometheusMiddleware(app, ...)`. In a mounted application too: the outermost one names.
    """

    def __init__(self, app: Application, **settings: Any) -> None:
        """Name the requests of `app`.

        settings: exclude, labels, buckets, group_status, include_prefix, metrics_path and
            metrics_auth; see `gunicorn_prometheus_exporter.adapter.AdapterSettings`. Callables get
            a `starlette.requests.Request`, or the scope where Starlette is not installed.

        Raises SettingsError for a setting that cannot be used.
        """
        self.app = app
        self._settings = AdapterSettings.from_mapping(settings)
        self._labeller = Labeller(self._settings)
        self._noted = NotedExceptions(app)
        note_behind_base_http_middleware(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        if scope["type"] != "http" or _SEEN in scope:
            await self.app(scope, receive, send)
            return
        scope[_SEEN] = True
        route = route_of(scope)
        if self._asks_for_metrics(scope):
            await self._show_metrics(route, scope, send)
        elif route.measured or under_worker():
            await self._named(scope, receive, send)
        else:
            route.measured = True
            await measure(self._named, scope, receive, send, local_recorder())

    async def _named(self, scope: Scope, receive: Receive, send: Send) -> None:
        before, named = dict(scope), False

        async def naming(message: Message) -> None:
            nonlocal named
            if not named and message["type"] == "http.response.start":
                named = True
                self._name(scope, before)
            await send(message)

        try:
            await self._noted(scope, receive, naming)
        finally:
            if not named:
                self._name(scope, before)

    def _name(self, scope: Scope, before: Scope) -> None:
        """Fill in the route, now that everything that the labels may ask for is known."""
        route = route_of(scope)
        start = routing.entry(self.app, before, scope)
        inner, found = route.endpoint, list[routing.Found]()

        def resolve() -> str | None:
            match = start.find()
            if match is None:
                return None
            found.append(match)
            return _within(match.template, inner) if match.endpoint is None else match.template

        self._labeller.label(
            scope,
            _request(scope) if self._settings.labels else None,
            resolve,
            path=start.path,
            prefix=start.root_path,
            excluded=route.excluded,
        )
        if found and is_excluded(found[0].endpoint):
            route.excluded = True
        if start.router is None:  # no framework that we know: the path may tell, or another adapter
            route.endpoint = inner

    def _asks_for_metrics(self, scope: Scope) -> bool:
        path = self._settings.metrics_path
        return (
            bool(path) and scope["method"] in ("GET", "HEAD") and routing.route_path(scope) == path
        )

    async def _show_metrics(self, route: Route, scope: Scope, send: Send) -> None:
        route.endpoint, route.excluded = self._settings.metrics_path, True
        allowed = self._settings.metrics_auth
        if allowed is None or allowed(_request(scope)):
            await send_metrics(scope, send)
        else:
            await send_forbidden(scope, send)


def _within(mount: str, endpoint: str | None) -> str | None:
    """Return the template below an opaque mount, where an adapter of ours within it tells."""
    if endpoint is None:
        return mount
    if endpoint == UNMATCHED:
        return None
    return mount.removesuffix(routing.REST) + endpoint if endpoint.startswith("/") else endpoint


def _request(scope: Scope) -> object:
    try:
        from starlette.requests import Request
    except ModuleNotFoundError:
        return scope
    return Request(scope)
