"""Measures the requests of an ASGI application by standing around it.

A request ends with its last byte: background tasks run on after it and belong to no request. What
the application raises then is still counted as an exception, for frameworks send their answer to an
exception first and raise it on afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from gunicorn_prometheus_exporter.recorder import CLIENT_CLOSED, Recorder
from gunicorn_prometheus_exporter.route import Route, route_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Headers = Iterable[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
HasLeft = Callable[[Receive, Send], bool]
"""Tells whether the server knows that the client of these has closed its connection."""


def _never_told(receive: Receive, send: Send) -> bool:
    return False


async def measure(
    app: Application,
    scope: Scope,
    receive: Receive,
    send: Send,
    recorder: Recorder,
    has_left: HasLeft = _never_told,
) -> None:
    """Answer an HTTP request as `app` does, and record it.

    has_left: asked in the end. An application that does not listen for `http.disconnect` learns
    nothing of a client that leaves, for servers drop in silence what they are given then.
    """
    exchange = _Exchange(scope, receive, send, recorder, has_left)
    try:
        await app(scope, exchange.receive, exchange.send)
    except asyncio.CancelledError:
        exchange.client_gone = True
        raise
    except BaseException as error:
        exchange.failed(error)
        raise
    finally:
        exchange.end()


class _Exchange:
    """One request and its response."""

    __slots__ = (
        "_ended", "_has_left", "_headers", "_path", "_receive", "_received", "_recorder", "_route",
        "_scope", "_send", "_sent", "_started", "_status", "client_gone",
    )  # fmt: skip

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, recorder: Recorder, has_left: HasLeft
    ) -> None:
        self._scope = scope
        self._path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        self._route: Route = route_of(scope)
        self._receive = receive
        self._send = send
        self._recorder = recorder
        self._has_left = has_left
        self._headers: Headers = ()
        self._ended = False
        self._status: int | None = None
        self._received = 0
        self._sent = 0
        self.client_gone = False
        self._started = recorder.begin()

    async def receive(self) -> Message:
        """Pass on the next event of the client."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.client_gone = True
        self._received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Pass on the next part of the response."""
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            self._headers = message.get("headers", ())
        try:
            await self._send(message)
        except OSError:
            self.client_gone = True
            raise
        if kind == "http.response.body":
            self._sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                # The answer is complete: an application that heard of a disconnect and answered all
                # the same was told so too early (gunicorn 27.0.1 after a cancelled receive()).
                self.client_gone = False
                self.end()

    def failed(self, error: BaseException) -> None:
        """Note what the application raised, before or after its last byte."""
        if self._ended:
            status = self._status or 500
            self._recorder.raised(self._scope["method"], status, self._path, self._route, error)
        else:
            self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Record the request, once."""
        if self._ended:
            return
        self._ended = True
        method = self._scope["method"]
        gone = self.client_gone or (
            self._has_left(self._receive, self._send) and not self._is_all_sent()
        )
        self._recorder.end(
            self._started,
            method=method,
            status=CLIENT_CLOSED if gone else self._status or 500,
            path=self._path,
            request_bytes=_announced(self._scope["headers"]) or self._received,
            response_bytes=0 if method == "HEAD" else self._sent,
            route=self._route,
            exception=None if gone else error,
            escaped=self._status is None,
        )

    def _is_all_sent(self) -> bool:
        """Return whether the client had every byte announced to it: then it may well leave."""
        return 0 < _announced(self._headers) <= self._sent


def _announced(headers: Headers) -> int:
    """Return the `Content-Length` in `headers`, 0 if there is none."""
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
