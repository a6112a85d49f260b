"""Measures the requests of a WSGI application where no worker of ours does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gunicorn_prometheus_exporter.recorder import (
    CLIENT_CLOSED,
    Recorder,
    local_recorder,
    under_worker,
)
from gunicorn_prometheus_exporter.route import Route, route_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class MeasuredApplication:
    """A WSGI application whose requests are measured once, whoever does it."""

    def __init__(self, application: WSGIApplication) -> None:
        """Measure the requests that `application` gets."""
        self.application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as the application does."""
        route = route_of(environ)
        if route.measured or under_worker():
            return self.application(environ, start_response)
        route.measured = True
        return _Measurement(environ, route, local_recorder()).run(self.application, start_response)


class _Measurement:
    """One request from its first call to its last byte; also the iterable of its response."""

    def __init__(self, environ: WSGIEnvironment, route: Route, recorder: Recorder) -> None:
        self._environ = environ
        self._route = route
        self._recorder = recorder
        self._started = recorder.begin()
        self._ended = False
        self._status = 500
        self._announced: int | None = None
        self._sent = 0
        self._body: Iterable[bytes] = ()
        self._chunks: Iterator[bytes] = iter(())

    def run(self, application: WSGIApplication, start_response: StartResponse) -> Iterable[bytes]:
        def starting(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            self._status = int(status[:3])
            self._announced = _content_length(dict(headers).get("Content-Length"))
            return self._counted(start_response(status, headers, *exc_info))

        try:
            self._body = application(self._environ, starting)
            self._chunks = iter(self._body)
        except BaseException as exception:
            self._end(self._status_of_failure, exception)
            raise
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._end(self._status)
            raise
        except BaseException as exception:
            self._end(self._status_of_failure, exception)
            raise
        self._sent += len(chunk)
        if self._sent == self._announced:
            # Test clients may never ask for more, nor close a response that they have whole.
            self._end(self._status)
        return chunk

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._end(CLIENT_CLOSED)

    def __del__(self) -> None:
        self._end(CLIENT_CLOSED)

    @property
    def _status_of_failure(self) -> int:
        return self._status if self._sent else 500

    def _counted(self, write: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def counted(chunk: bytes) -> object:
            self._sent += len(chunk)
            return write(chunk)

        return counted

    def _end(self, status: int, exception: BaseException | None = None) -> None:
        """Record the request, once: the first end is the one that counts."""
        if self._ended:
            return
        self._ended = True
        self._recorder.end(
            self._started,
            method=self._environ["REQUEST_METHOD"],
            status=status,
            path=_path(self._environ),
            request_bytes=_content_length(self._environ.get("CONTENT_LENGTH")) or 0,
            response_bytes=self._sent,
            route=self._route,
            exception=exception,
        )


def _content_length(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _path(environ: WSGIEnvironment) -> str:
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1").decode("utf-8", "replace")
