"""A client of either protocol that remembers how its last request was named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gunicorn_prometheus_exporter.route import Route, route_of
from tests.conformance.adapters import Answer, Client
from tests.integrations.asgi_client import AsgiClient
from tests.integrations.wsgi_client import WsgiClient


class Calls:
    """Calls `app` by `protocol`, which is `wsgi` or `asgi`."""

    def __init__(self, app: Any, protocol: str) -> None:
        """Send requests to `app`."""
        self.app = app
        self._environ: dict[str, Any] = {}
        self._client: Client = (
            WsgiClient(self._wsgi) if protocol == "wsgi" else AsgiClient(self._asgi)
        )

    def __call__(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        prefix: str = "",
    ) -> Answer:
        """Send one request and return its answer."""
        return self._client(path, method=method, headers=headers, prefix=prefix)

    @property
    def route(self) -> Route:
        """The `Route` of the last request."""
        return route_of(self._environ)

    def endpoint(self, path: str, **request: Any) -> str | None:
        """Send one request and return the endpoint that it was given."""
        self(path, **request)
        return self.route.endpoint

    def _wsgi(self, environ: dict[str, Any], start_response: Any) -> Any:
        self._environ = environ
        return self.app(environ, start_response)

    async def _asgi(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self._environ = scope
        await self.app(scope, receive, send)
