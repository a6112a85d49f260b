"""Observes the requests of gunicorn's WSGI workers through its own request hooks.

In the forked worker `pre_request` and `post_request` of its configuration are replaced by ours,
which call the user's. gunicorn calls them exactly once for each parsed request, the second one
after the last byte, with the exception in flight still to be seen.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from gunicorn_prometheus_exporter.recorder import CLIENT_CLOSED
from gunicorn_prometheus_exporter.route import ROUTE_KEY
from gunicorn_prometheus_exporter.workers.observed import ObservedWorker
from gunicorn_prometheus_exporter.workers.outcome import (
    SWITCHING_PROTOCOLS,
    Outcome,
    is_refusal,
    is_taken_over,
    outcome,
)
from gunicorn_prometheus_exporter.workers.taps import AnswerTap, count_chunks

_BODILESS = frozenset({204, 304})


class ObservedWSGIWorker(ObservedWorker):
    """A mixin to put before any of gunicorn's workers that call a WSGI application."""

    def observe(self) -> None:
        """Put our request hooks before the user's, in this process's own configuration."""
        begin, cfg = self.recorder.begin, self.cfg
        pre, post = cfg.pre_request, cfg.post_request

        def pre_request(worker: Any, req: Any) -> None:
            req.prometheus = begin(), count_chunks(req)
            pre(worker, req)

        def post_request(worker: Any, req: Any, environ: Mapping[str, Any], resp: Any) -> None:
            error = sys.exc_info()[1]
            # The usual case first: a response, and nothing raised.
            if error is None and resp.headers_sent and resp.status_code != SWITCHING_PROTOCOLS:
                self._record(req, environ, resp, (resp.status_code, None, False))
            elif is_refusal(req, resp, error):
                req.prometheus_refused = environ, resp
            elif is_taken_over(resp, error):
                self.recorder.abandon()
            else:
                self._record(req, environ, resp, outcome(resp, error))
            post(worker, req, environ, resp)

        cfg.set("pre_request", pre_request)
        cfg.set("post_request", post_request)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer an error; what never became a request, or not a whole one, is counted here."""
        answer: Any = AnswerTap(client)
        super().handle_error(req, answer, addr, exc)
        status = answer.status or CLIENT_CLOSED
        if not hasattr(req, "prometheus"):
            self.recorder.rejected(status, type(exc).__name__)
        elif hasattr(req, "prometheus_refused"):
            environ, resp = req.prometheus_refused
            self._record(req, environ, resp, (status, exc, True))

    def _record(self, req: Any, environ: Mapping[str, Any], resp: Any, outcome: Outcome) -> None:
        """Record the request that gunicorn is about to let go of."""
        started, chunks = req.prometheus
        status, exception, escaped = outcome
        length = environ.get("CONTENT_LENGTH") if chunks is None else None
        self.recorder.end(
            started,
            method=req.method,
            status=status,
            path=req.path,
            request_bytes=_announced(length) if length else chunks.count if chunks else 0,
            response_bytes=(resp.sent or _sent_by_kernel(req, resp)) if resp is not None else 0,
            route=environ.get(ROUTE_KEY),
            exception=exception,
            escaped=escaped,
        )


def _announced(length: str) -> int:
    return int(length) if length.isdecimal() else 0


def _sent_by_kernel(req: Any, resp: Any) -> int:
    """Return the size of a file that went by sendfile(), which gunicorn does not count."""
    bodiless = req.method == "HEAD" or not resp.headers_sent or resp.status_code in _BODILESS
    return 0 if bodiless else resp.response_length or 0
