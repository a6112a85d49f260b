"""Measures requests in this process: under pserve, another server or a test client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gunicorn_prometheus_exporter.recorder import CLIENT_CLOSED, local_recorder
from gunicorn_prometheus_exporter.route import Route
from gunicorn_prometheus_pyramid.requests import path_of, request_bytes


class LocalMeasurement:
    """One request, from the tween to the last byte of its response."""

    def __init__(self, environ: Mapping[str, Any], route: Route) -> None:
        """Begin to measure."""
        route.measured = True
        self._environ = environ
        self._route = route
        self._recorder = local_recorder()
        self._started = self._recorder.begin()
        self._ended = False
        self.status = 500
        self.sent = 0

    def leave(self, response: Any) -> None:
        """Record the request once the last byte of `response` is out."""
        self.status = response.status_int
        if isinstance(response.app_iter, (list, tuple)):
            self.sent = sum(map(len, response.app_iter))
            self.end()
            return
        length = response.content_length
        response.app_iter = WatchedBody(response.app_iter, self)
        response.content_length = length  # which setting app_iter forgets

    def fail(self, error: BaseException) -> None:
        """Record that the request ended in `error`."""
        if isinstance(error, Exception):
            self._route.exception = error
        self.end()

    def end(self) -> None:
        """Record the request; again is no more."""
        if self._ended:
            return
        self._ended = True
        self._recorder.end(
            self._started,
            method=self._environ.get("REQUEST_METHOD", ""),
            status=self.status,
            path=path_of(self._environ),
            request_bytes=request_bytes(self._environ),
            response_bytes=self.sent,
            route=self._route,
        )


class WatchedBody:
    """The body of a response, whose request ends with it."""

    def __init__(self, body: Iterable[bytes], measurement: LocalMeasurement) -> None:
        """Watch `body` on behalf of `measurement`."""
        self._body = body
        self._measurement = measurement
        self._begun = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body; what it raises is the request's exception."""
        self._begun = True
        measurement = self._measurement
        try:
            for chunk in self._body:
                measurement.sent += len(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            measurement.fail(error)
            raise
        measurement.end()

    def close(self) -> None:
        """Close the body; where it was not read to its end, the client went away."""
        if self._begun:
            self._measurement.status = CLIENT_CLOSED
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._measurement.end()
