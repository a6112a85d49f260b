"""What became of a request, told from what gunicorn leaves of it."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from gunicorn.http import errors
from gunicorn.http.wsgi import Response
from gunicorn.util import write

from gunicorn_prometheus_exporter.workers.outcome import (
    is_client_gone,
    is_refusal,
    is_taken_over,
    outcome,
)
from gunicorn_prometheus_exporter.workers.taps import AnswerTap, ChunkCounter, count_chunks


class Sent:
    """A response of gunicorn's, with as much as is looked at."""

    def __init__(self, status: int | None, *, headers_sent: bool = True) -> None:
        """Be a response with `status`, None if start_response() was not called."""
        self.status = None if status is None else f"{status} Status"
        self.headers_sent = headers_sent
        if status is not None:
            self.status_code = status


class Request:
    """An HTTP/1.1 request."""


class Stream(Request):
    """An HTTP/2 request."""

    stream = object()


class Socket:
    """A client that takes `data`, or fails with `error`."""

    def __init__(self, error: OSError | None = None) -> None:
        """Take nothing yet."""
        self.data, self._error = b"", error

    def sendall(self, data: bytes) -> None:
        """Take `data`."""
        if self._error is not None:
            raise self._error
        self.data += data

    def fileno(self) -> int:
        """Return a number."""
        return 7


def raised(error: BaseException) -> BaseException:
    """Return `error` with the traceback of having been raised here."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def raised_writing(error: OSError) -> BaseException:
    """Return `error` as gunicorn raises it when it writes to the client."""
    client: Any = Socket(error)
    with pytest.raises(type(error)) as caught:
        write(client, b"data")
    return caught.value


def instead_of(cause: Exception) -> BaseException:
    """Return what gunicorn raises in place of what broke a response off."""
    replaced = StopIteration()
    replaced.__context__ = cause
    return replaced


GONE = {
    "EPIPE": lambda: BrokenPipeError(errno.EPIPE, "broken pipe"),
    "ECONNRESET": lambda: ConnectionResetError(errno.ECONNRESET, "reset"),
    "ENOTCONN": lambda: OSError(errno.ENOTCONN, "not connected"),
    "timeout": lambda: TimeoutError("timed out"),
    "TLS": lambda: ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
}
gone = pytest.mark.parametrize("make", GONE.values(), ids=GONE)


@gone
def test_a_broken_connection_to_the_client_is_a_client_that_left(
    make: Callable[[], OSError],
) -> None:
    broken = raised_writing(make())

    assert is_client_gone(broken)
    assert outcome(Sent(200), broken) == (499, None, False)
    assert outcome(None, broken) == (499, None, False)


@gone
def test_a_broken_connection_of_the_applications_own_is_an_exception(
    make: Callable[[], OSError],
) -> None:
    """A database that goes away is no client that left."""
    own = raised(make())

    assert not is_client_gone(own)
    assert outcome(Sent(200, headers_sent=False), own) == (500, own, True)


def test_other_errors_of_the_system_are_the_applications_even_through_gunicorn() -> None:
    assert not is_client_gone(raised_writing(OSError(errno.ENOSPC, "no space")))


@pytest.mark.parametrize("name", ["HTTP2StreamError", "HTTP2ConnectionError"])
def test_a_reset_stream_is_a_client_that_left(name: str) -> None:
    http2 = pytest.importorskip("gunicorn.http2.errors")
    kind = getattr(http2, name)

    assert is_client_gone(raised(kind.__new__(kind)))


def test_nothing_raised_is_the_status_of_the_response() -> None:
    assert outcome(Sent(204), None) == (204, None, False)


def test_an_exception_before_the_head_is_the_500_that_the_worker_answers() -> None:
    error = raised(ValueError())

    assert outcome(Sent(200, headers_sent=False), error) == (500, error, True)
    assert outcome(None, error) == (500, error, True)


def test_an_exception_after_the_head_keeps_the_status_that_was_sent() -> None:
    error = ValueError()

    assert outcome(Sent(200), instead_of(error)) == (200, error, False)
    assert outcome(Sent(200), error) == (200, error, False)


def test_closing_the_connection_after_a_response_is_no_exception() -> None:
    """gevent's and eventlet's workers raise StopIteration for it."""
    assert outcome(Sent(200), raised(StopIteration())) == (200, None, False)


@pytest.mark.parametrize(
    ("resp", "error", "taken_over"),
    [
        (Sent(101), None, True),
        (Sent(200), None, False),
        (Sent(None, headers_sent=False), None, True),
        (Sent(None, headers_sent=False), raised(StopIteration()), True),
        (Sent(None, headers_sent=False), instead_of(ValueError()), False),
        (Sent(None, headers_sent=False), raised(ValueError()), False),
        (None, raised(ValueError()), False),
    ],
)
def test_a_connection_that_the_application_took_over_is_no_request(
    resp: Sent | None, error: BaseException | None, taken_over: bool
) -> None:
    assert is_taken_over(resp, error) is taken_over


@pytest.mark.parametrize(
    ("req", "resp", "error", "refused"),
    [
        (Request(), Sent(None, headers_sent=False), errors.ConfigurationProblem("x"), True),
        (Request(), None, errors.ConfigurationProblem("x"), True),
        (Request(), Sent(200), errors.ConfigurationProblem("x"), False),
        (Stream(), None, errors.ConfigurationProblem("x"), False),
        (Request(), None, errors.NoMoreData(), False),
        (Request(), None, ValueError(), False),
        (Request(), None, None, False),
    ],
)
def test_gunicorn_chooses_the_status_for_what_its_parser_raises(
    req: Request, resp: Sent | None, error: BaseException | None, refused: bool
) -> None:
    assert is_refusal(req, resp, error) is refused


def test_the_tap_knows_the_status_that_went_through_it() -> None:
    client = Socket()
    tap = AnswerTap(client)

    tap.sendall(b"HTTP/1.1 414 URI Too Long\r\n")
    tap.sendall(b"\r\nbody")

    assert tap.status == 414
    assert client.data.endswith(b"body")
    assert tap.fileno() == 7


def test_the_tap_knows_no_status_where_nothing_went_through() -> None:
    tap = AnswerTap(Socket(BrokenPipeError()))

    with pytest.raises(BrokenPipeError):
        tap.sendall(b"HTTP/1.1 400 Bad Request\r\n")

    assert tap.status is None


class ChunkedReader:
    """As much of gunicorn's as is used."""

    parts: tuple[bytes, ...] = (b"abc", b"de", b"")
    buf = "of the reader"

    def read(self, size: int) -> bytes:
        """Return the next part."""
        data, *rest = self.parts
        self.parts = tuple(rest)
        return data


class Body:
    """The body of a request."""

    def __init__(self, reader: Any) -> None:
        """Come from `reader`."""
        self.reader = reader


def test_chunks_are_counted_as_they_are_read() -> None:
    request: Any = Request()
    request.body = Body(ChunkedReader())

    counter = count_chunks(request)
    while request.body.reader.read(1024):
        pass

    assert isinstance(counter, ChunkCounter)
    assert counter.count == 5
    assert request.body.reader.buf == "of the reader"


def test_other_bodies_and_streams_are_left_alone() -> None:
    request: Any = Request()
    request.body = Body(reader := object())

    assert count_chunks(request) is None
    assert request.body.reader is reader
    assert count_chunks(Stream()) is None


def test_gunicorn_still_has_what_we_look_at() -> None:
    """The names that the fakes here share with gunicorn."""
    nothing: Any = None
    made = Response(nothing, nothing, nothing)

    assert (made.status, made.headers_sent, made.sent) == (None, False, 0)
    assert made.response_length is None
