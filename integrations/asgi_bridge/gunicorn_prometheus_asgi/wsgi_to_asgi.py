"""Runs a WSGI application under ASGI workers.

    app = WsgiToAsgi(flask_app)

Built on a2wsgi; what is ours is that the `Route` of the request crosses the bridge.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gunicorn_prometheus_exporter.asgi import Receive, Scope, Send
from gunicorn_prometheus_exporter.errors import MissingDependencyError
from gunicorn_prometheus_exporter.route import ROUTE_KEY, route_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class WsgiToAsgi:
    """An ASGI application that answers as a WSGI application does."""

    def __init__(self, app: WSGIApplication, *, threads: int = 10) -> None:
        """Serve `app` in up to `threads` threads, which start when they are needed."""
        self.wsgi_app = app
        self._asgi = _a2wsgi(self._serve, threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._asgi(scope, receive, send)

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[ROUTE_KEY] = route_of(environ["asgi.scope"])
        return self.wsgi_app(environ, start_response)


def _a2wsgi(app: WSGIApplication, threads: int) -> Any:
    try:
        from a2wsgi import WSGIMiddleware
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "WsgiToAsgi needs a2wsgi: pip install gunicorn-prometheus-exporter[fastapi]"
        ) from None
    return WSGIMiddleware(app, workers=threads)  # type: ignore[arg-type]
