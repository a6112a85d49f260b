"""Measures requests in this process: under runserver, another server or a test client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gunicorn_prometheus_django.requests import request_bytes
from gunicorn_prometheus_exporter.recorder import CLIENT_CLOSED, local_recorder
from gunicorn_prometheus_exporter.route import Route


class LocalMeasurement:
    """One request, from the middleware to the last byte of its response."""

    __slots__ = ("_ended", "_recorder", "_request", "_route", "_sent", "_started", "_status")

    def __init__(self, request: HttpRequest, route: Route) -> None:
        """Begin to measure."""
        route.measured = True
        self._request = request
        self._route = route
        self._recorder = local_recorder()
        self._started = self._recorder.begin()
        self._sent = 0
        self._status = 500
        self._ended = False

    def leave(self, response: HttpResponseBase) -> None:
        """Record the request once the last byte of `response` is out."""
        self._status = response.status_code
        if response.streaming:
            self._watch(response)
        else:
            self._sent = len(response.content)
            self._end()

    def fail(self, error: BaseException) -> None:
        """Record that the request ended in `error`."""
        if isinstance(error, asyncio.CancelledError):
            self._status = CLIENT_CLOSED
        elif isinstance(error, Exception):
            self._route.exception = error
        self._end()

    def _watch(self, response: Any) -> None:
        watch = self._pass_async if response.is_async else self._pass
        response.streaming_content = watch(response.streaming_content)
        close = response.close

        def close_and_end() -> None:
            try:
                close()
            finally:
                self._end()

        # Django closes every response, also one whose body nobody iterates (HEAD, 304).
        response.close = close_and_end

    def _pass(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            for chunk in chunks:
                self._sent += len(chunk)
                yield chunk
        except BaseException as error:
            self._break(error)
            raise
        self._end()

    async def _pass_async(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for chunk in chunks:
                self._sent += len(chunk)
                yield chunk
        except BaseException as error:
            self._break(error)
            raise
        self._end()

    def _break(self, error: BaseException) -> None:
        if isinstance(error, GeneratorExit):  # closed before its end: the client went away
            self._status = CLIENT_CLOSED
            self._end()
        else:
            self.fail(error)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._recorder.end(
            self._started,
            method=self._request.method or "",
            status=self._status,
            path=self._request.path_info,
            request_bytes=request_bytes(self._request),
            response_bytes=self._sent,
            route=self._route,
            exception=None,
        )
