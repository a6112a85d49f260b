"""What became of a request under gunicorn's WSGI workers, from what is left of it in the end."""

from __future__ import annotations

import errno
import ssl
from types import TracebackType
from typing import Any

from gunicorn_prometheus_exporter.recorder import CLIENT_CLOSED

SWITCHING_PROTOCOLS = 101
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, None)

Outcome = tuple[int, BaseException | None, bool]
"""The status the client got, what the application raised, and if the worker answered that."""


def is_taken_over(resp: Any, error: BaseException | None) -> bool:
    """Return whether the application answered on the bare socket: a websocket, no HTTP request."""
    if resp is not None and resp.headers_sent:
        return bool(resp.status_code == SWITCHING_PROTOCOLS)
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
