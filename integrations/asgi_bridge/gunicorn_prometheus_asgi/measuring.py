"""Measures the requests of an ASGI application where no worker of ours does."""

from __future__ import annotations

import asyncio
from typing import Any

from gunicorn_prometheus_asgi.protocol import (
    Application,
    Message,
    Receive,
    Scope,
    Send,
    ends_response,
)
from gunicorn_prometheus_exporter.recorder import CLIENT_CLOSED, Recorder, local_recorder
from gunicorn_prometheus_exporter.route import Route, route_of


async def measure(app: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as `app` does and record the request when its last byte has been sent."""
    measurement = _Measurement(scope, route_of(scope), local_recorder())
    try:
        await app(scope, measurement.receiving(receive), measurement.sending(send))
    except asyncio.CancelledError:
        measurement.client_gone = True
        raise
    except BaseException as exception:
        measurement.end(exception)
        raise
    finally:
        measurement.end()


class _Measurement:
    """One request, from its first call to its last byte."""

    def __init__(self, scope: Scope, route: Route, recorder: Recorder) -> None:
        self._method: str = scope["method"]
        self._path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        self._announced = _content_length(scope)
        self._route = route
        self._recorder = recorder
        self._started = recorder.begin()
        self._ended = False
        self._status: int | None = None
        self._received = 0
        self._sent = 0
        self.client_gone = False

    def receiving(self, receive: Receive) -> Receive:
        async def received() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.client_gone = True
            self._received += len(message.get("body", b""))
            return message

        return received

    def sending(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
            try:
                await send(message)
            except OSError:
                self.client_gone = True
                raise
            self._sent += len(message.get("body", b""))
            if ends_response(message):
                self.end()

        return sent

    def end(self, exception: BaseException | None = None) -> None:
        """Record the request, once: background tasks run on after its last byte."""
        if self._ended:
            return
        self._ended = True
        self._recorder.end(
            self._started,
            method=self._method,
            status=CLIENT_CLOSED if self.client_gone else self._status or 500,
            path=self._path,
            request_bytes=self._received if self._announced is None else self._announced,
            response_bytes=self._sent,
            route=self._route,
            exception=None if self.client_gone else exception,
        )


def _content_length(scope: Scope) -> int | None:
    headers: dict[bytes, Any] = dict(scope["headers"])
    text: bytes = headers.get(b"content-length", b"")
    return int(text) if text.isdigit() else None
