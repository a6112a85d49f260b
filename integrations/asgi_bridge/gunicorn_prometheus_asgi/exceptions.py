"""Notes the exceptions of an application, also those that it answers itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gunicorn_prometheus_asgi.messages import ends_response
from gunicorn_prometheus_exporter.asgi import Application, Message, Receive, Scope, Send
from gunicorn_prometheus_exporter.route import Route, route_of

_ANSWERS = frozenset({"HTTPException", "RequestValidationError", "ClientDisconnect"})
"""Names of exceptions that are a way to answer the client, or that tell of its leaving."""


class NotedExceptions:
    """An ASGI application whose exceptions are written into the route of the request."""

    def __init__(self, app: Application) -> None:
        """Note what `app` raises."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does.

        An exception handler sends its response from within its `except` block, so there the
        exception can be seen. That holds for every framework that has such handlers.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route, outside = route_of(scope), sys.exc_info()[1]
        answered, client_gone = False, None

        async def noting(message: Message) -> None:
            nonlocal answered, client_gone
            if message["type"] == "http.response.start":
                handled = sys.exc_info()[1]
                if handled is not outside:
                    _note(route, handled)
            answered = ends_response(message)
            try:
                await send(message)
            except OSError as error:
                client_gone = error
                raise

        try:
            await self.app(scope, receive, noting)
        except Exception as exception:
            # What follows the last byte comes too late for the route; who measures sees it.
            if not answered and _alone(exception) is not client_gone:
                _note(route, exception)
            raise


def note_behind_base_http_middleware(app: object) -> None:
    """Note exceptions also right around the router, if a BaseHTTPMiddleware stands before it.

    Such a middleware sends from another task than the handler's, where no exception is to be seen.
    """
    layer, hidden = app, False
    while (inner := getattr(layer, "app", None)) is not None:
        hidden = hidden or any(cls.__name__ == "BaseHTTPMiddleware" for cls in type(layer).__mro__)
        if hasattr(inner, "routes"):
            if hidden:
                layer.app = NotedExceptions(inner)  # type: ignore[attr-defined]
            return
        layer = inner


def _note(route: Route, exception: BaseException | None) -> None:
    exception = _alone(exception)
    if isinstance(exception, Exception):
        names = {cls.__name__ for cls in type(exception).__mro__}
        if names.isdisjoint(_ANSWERS):
            route.exception = exception


def _alone(exception: BaseException | None) -> BaseException | None:
    """Return the one exception in a group: task groups wrap what was raised within them."""
    within: Sequence[BaseException] = getattr(exception, "exceptions", ())
    return _alone(within[0]) if len(within) == 1 else exception
