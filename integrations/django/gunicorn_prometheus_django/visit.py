"""One request on its way through the middleware."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gunicorn_prometheus_django import conf, routes
from gunicorn_prometheus_django.marker import is_excluded
from gunicorn_prometheus_django.requests import environ_of, request_bytes
from gunicorn_prometheus_django.views import answer_metrics
from gunicorn_prometheus_exporter.recorder import CLIENT_CLOSED, local_recorder, under_worker
from gunicorn_prometheus_exporter.route import Route, route_of


class Visit:
    """Names one request; measures it too where neither a worker nor another adapter does."""

    __slots__ = ("_config", "_environ", "_local", "_request")

    def __init__(self, request: HttpRequest) -> None:
        """Begin: everything of ours that is asked of `request` later is asked of this."""
        self._request = request
        self._environ = environ_of(request)
        self._config = conf.current()
        route = route_of(self._environ)
        measured_elsewhere = route.measured or under_worker()
        self._local = None if measured_elsewhere else LocalMeasurement(request, route)

    @property
    def is_scrape(self) -> bool:
        """Whether the metrics are what is asked for."""
        path = self._config.adapter.metrics_path
        return bool(path) and self._request.path_info == path

    def answer_metrics(self) -> HttpResponseBase:
        """Return the metrics, or a 403."""
        return answer_metrics(self._request, self._config.adapter.metrics_auth)

    def leave(self, response: HttpResponseBase) -> HttpResponseBase:
        """Name the request now that `response` is made, and return the response."""
        self._label(response)
        if self._local is not None:
            self._local.leave(response)
        return response

    def fail(self, error: BaseException) -> None:
        """Name the request that ends in `error` instead of a response."""
        self._label(None)
        if self._local is not None:
            self._local.fail(error)

    def _label(self, response: HttpResponseBase | None) -> None:
        request, marked = self._request, self.is_scrape

        def resolve() -> str | None:
            nonlocal marked
            match = routes.match_of(request, response)
            if match is None:
                return None
            marked = marked or is_excluded(match.func)
            return routes.template_of(match)

        route = self._config.labeller.label(
            self._environ,
            request,
            resolve,
            path=request.path_info,
            prefix=request.META.get("SCRIPT_NAME", ""),
        )
        route.excluded = route.excluded or marked


class LocalMeasurement:
    """Measures one request in this process: under runserver, another server or a test client."""

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
