"""Observes the requests of gunicorn's WSGI workers through its own request hooks.

In the forked worker `pre_request` and `post_request` of its configuration are replaced by ours,
which call the user's. gunicorn calls them exactly once for each parsed request, the second one
after the last byte, with the exception in flight still to be seen.
"""

from __future__ import annotations

import errno
import ssl
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from gunicorn_prometheus_exporter.recorder import CLIENT_CLOSED, Recorder
from gunicorn_prometheus_exporter.route import ROUTE_KEY
from gunicorn_prometheus_exporter.workers.observed import ObservedWorker
from gunicorn_prometheus_exporter.workers.taps import AnswerTap, count_chunks

_SWITCHING_PROTOCOLS = 101
_BODILESS = frozenset({204, 304})
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, None)

Outcome = tuple[int, BaseException | None, bool]
"""The status the client got, what the application raised, and if the worker answered it."""


class ObservedWSGIWorker(ObservedWorker):
    """A mixin to put before any of gunicorn's workers that call a WSGI application."""

    def observe(self) -> None:
        """Put our request hooks before the user's, in this process's own configuration."""
        recorder, cfg = self.recorder, self.cfg
        pre, post = cfg.pre_request, cfg.post_request

        def pre_request(worker: Any, req: Any) -> None:
            req.prometheus_started = recorder.begin()
            count_chunks(req)
            pre(worker, req)

        def post_request(worker: Any, req: Any, environ: Mapping[str, Any], resp: Any) -> None:
            error = sys.exc_info()[1]
            if is_refusal(req, resp, error):
                req.prometheus_refused = environ, resp
            else:
                record(recorder, req, environ, resp, error)
            post(worker, req, environ, resp)

        cfg.set("pre_request", pre_request)
        cfg.set("post_request", post_request)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer an error; what never became a request, or not a whole one, is counted here."""
        answer: Any = AnswerTap(client)
        super().handle_error(req, answer, addr, exc)
        if not hasattr(req, "prometheus_started"):
            self.recorder.rejected(answer.status or CLIENT_CLOSED, type(exc).__name__)
        elif hasattr(req, "prometheus_refused"):
            environ, resp = req.prometheus_refused
            _end(self.recorder, req, environ, resp, (answer.status or CLIENT_CLOSED, exc, True))


def record(
    recorder: Recorder,
    req: Any,
    environ: Mapping[str, Any],
    resp: Any,
    error: BaseException | None,
) -> None:
    """Record the request that gunicorn is about to let go of."""
    if is_taken_over(resp, error):
        recorder.abandon()
        return
    _end(recorder, req, environ, resp, outcome(resp, error))


def _end(
    recorder: Recorder, req: Any, environ: Mapping[str, Any], resp: Any, outcome: Outcome
) -> None:
    status, exception, escaped = outcome
    recorder.end(
        req.prometheus_started,
        method=req.method,
        status=status,
        path=req.path,
        request_bytes=_request_bytes(req, environ),
        response_bytes=_response_bytes(req, resp, status),
        route=environ.get(ROUTE_KEY),
        exception=exception,
        escaped=escaped,
    )


def is_taken_over(resp: Any, error: BaseException | None) -> bool:
    """Return whether the application answered on the bare socket: a websocket, no HTTP request."""
    if resp is not None and resp.headers_sent:
        return bool(resp.status_code == _SWITCHING_PROTOCOLS)
    if error is None:
        return resp is None or resp.status is None
    return isinstance(error, StopIteration) and error.__context__ is None


def is_refusal(req: Any, resp: Any, error: BaseException | None) -> bool:
    """Return whether `handle_error()` will answer `error` with a status that gunicorn chooses.

    A malformed body is found when the application reads it. Over HTTP/2 all of them are a 500.
    """
    if error is None or type(error).__module__ != "gunicorn.http.errors":
        return False
    is_sent = resp is not None and resp.headers_sent
    return not (is_sent or isinstance(error, OSError) or hasattr(req, "stream"))


def outcome(resp: Any, error: BaseException | None) -> Outcome:
    """Return the status the client got, what was raised, and whether the worker answered that."""
    if error is None:
        return resp.status_code or 500, None, False
    if is_client_gone(error):
        return CLIENT_CLOSED, None, False
    if resp is not None and resp.headers_sent:
        # gunicorn raises StopIteration in place of what broke the response off; where there is
        # nothing in its place, it says "close the connection" (gevent, eventlet)
        cause = error.__context__ if isinstance(error, StopIteration) else error
        return resp.status_code, cause, False
    return 500, error, True


def is_client_gone(error: BaseException) -> bool:
    """Return whether `error` comes from the client's socket, not from the application's work."""
    if type(error).__module__ == "gunicorn.http2.errors":
        return True  # the peer reset the stream, or the connection is lost
    if isinstance(error, ssl.SSLError) or (isinstance(error, OSError) and error.errno in _GONE):
        return _passed_gunicorn_io(error.__traceback__)
    return False


def _passed_gunicorn_io(traceback: TracebackType | None) -> bool:
    """Return whether the innermost frame of gunicorn's is one that reads or writes the client."""
    last = ""
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        if module.startswith("gunicorn."):
            last = module
        traceback = traceback.tb_next
    return last.startswith(("gunicorn.http", "gunicorn.util"))


def _request_bytes(req: Any, environ: Mapping[str, Any]) -> int:
    counted = getattr(req, "prometheus_chunks", None)
    if counted is not None:
        return int(counted.count)
    length = environ.get("CONTENT_LENGTH")
    return int(length) if length and length.isdecimal() else 0


def _response_bytes(req: Any, resp: Any, status: int) -> int:
    if resp is None:
        return 0
    if resp.sent:
        return int(resp.sent)
    sent_by_kernel = resp.headers_sent and req.method != "HEAD" and status not in _BODILESS
    return int(resp.response_length or 0) if sent_by_kernel else 0
