"""The answers of the metrics endpoint, as functions of a request: no sockets and no framework.

The exporter process serves an `Endpoint`; an adapter that shows the metrics inside its application
calls `respond` alone.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs

from gunicorn_prometheus_exporter.exporter.negotiation import accepts_gzip, prefers_openmetrics
from gunicorn_prometheus_exporter.exporter.page import human_page

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

METHODS = ("GET", "HEAD")
_MAX_NAMES = 1000
_GZIP = 16 + zlib.MAX_WBITS

logger = logging.getLogger("gunicorn_prometheus_exporter")

_reported: set[type[BaseException]] = set()
"""The kinds of failure that this process has logged: one line each, however often it is scraped."""


class RecordsScrapes(Protocol):
    """Counts what the endpoint does, for the metrics about the exporter itself."""

    def observe(self, seconds: float) -> None:
        """Record a scrape that took `seconds`."""

    def failed(self) -> None:
        """Record a scrape that failed."""


class Renders(Protocol):
    """Where the metrics come from; safe to be called by several threads."""

    @property
    def self_metrics(self) -> RecordsScrapes:
        """What counts the scrapes."""

    def render(self, *, openmetrics: bool, names: frozenset[str]) -> bytes:
        """Return an exposition of all metrics, or of those in `names` if it is not empty."""


class Request(NamedTuple):
    """What an answer depends on. `query` is the query string, still encoded."""

    method: str
    path: str
    query: str = ""
    accept: str = ""
    accept_encoding: str = ""


@dataclass(frozen=True)
class Response:
    """A complete answer; its headers include Content-Length, and HEAD has no body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def respond(
    renderer: Renders,
    *,
    method: str = "GET",
    query_string: str = "",
    accept: str = "",
    accept_encoding: str = "",
) -> Response:
    """Return the metrics of `renderer` as the client wants them, or why it cannot have them."""
    if method not in METHODS:
        return _not_allowed()
    try:
        query = parse_qs(query_string, max_num_fields=_MAX_NAMES)
    except ValueError:
        return plain(400, f"The query has more than {_MAX_NAMES} fields.")
    openmetrics, gzip = prefers_openmetrics(accept), accepts_gzip(accept_encoding)
    try:
        body = _render(renderer, openmetrics, frozenset(query.get("name[]", ())), gzip)
    except Exception as error:  # noqa: BLE001 - nothing that is read may end the endpoint
        response = _failure(renderer, error)
    else:
        headers = [
            ("Content-Type", OPENMETRICS if openmetrics else TEXT),
            ("Vary", "Accept, Accept-Encoding"),
            *([("Content-Encoding", "gzip")] if gzip else []),
        ]
        response = _complete(200, headers, body)
    return _headers_only(response) if method == "HEAD" else response


def _render(renderer: Renders, openmetrics: bool, names: frozenset[str], gzip: bool) -> bytes:
    started = time.perf_counter()
    body = renderer.render(openmetrics=openmetrics, names=names)
    if gzip:
        compressor = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        body = compressor.compress(body) + compressor.flush()
    renderer.self_metrics.observe(time.perf_counter() - started)
    return body


def _failure(renderer: Renders, error: Exception) -> Response:
    renderer.self_metrics.failed()
    kind = type(error)
    if kind not in _reported:
        _reported.add(kind)
        logger.error(
            "the metrics could not be rendered (%s); more of this kind are counted, not logged",
            kind.__name__,
            exc_info=error,
        )
    return plain(500, f"The metrics could not be rendered: {kind.__name__}. The log says more.")


class Endpoint:
    """Every path of the exporter: the metrics, the human page, the health checks."""

    def __init__(
        self, source: Renders, instance: Renders | None = None, *, title: str = ""
    ) -> None:
        """Serve `source` at /metrics and, where several share it, `instance` below that."""
        self._source = source
        self._title = title
        self._readable = False
        self._views: dict[str, Callable[[Request], Response]] = {
            "/": self._page,
            "/-/healthy": lambda request: plain(200, "Healthy."),
            "/-/ready": self._ready,
            "/metrics": self._metrics,
            "/metrics/": self._metrics,
        }
        self._links = ["metrics", "-/healthy", "-/ready"]
        if instance is not None:
            self._serve_instance(instance)

    def _serve_instance(self, instance: Renders) -> None:
        def view(request: Request) -> Response:
            return _scrape(instance, request)

        self._views.update({"/metrics/instance": view, "/metrics/instance/": view})
        self._links.insert(1, "metrics/instance")

    def respond(self, request: Request) -> Response:
        """Return the answer to `request`; never raises."""
        view = self._views.get(request.path)
        if view is None:
            response = plain(404, "Not found. The metrics are at /metrics.")
        elif request.method not in METHODS:
            response = _not_allowed()
        else:
            response = view(request)
        return _headers_only(response) if request.method == "HEAD" else response

    def _metrics(self, request: Request) -> Response:
        response = _scrape(self._source, request)
        self._readable = self._readable or response.status == 200
        return response

    def _page(self, request: Request) -> Response:
        body = human_page(self._title, self._links).encode()
        return _complete(200, [("Content-Type", "text/html; charset=utf-8")], body)

    def _ready(self, request: Request) -> Response:
        if not self._readable:
            self._metrics(Request("GET", "/metrics"))
        if self._readable:
            return plain(200, "Ready.")
        return plain(503, "The metrics cannot be read yet.")


def _scrape(renderer: Renders, request: Request) -> Response:
    return respond(
        renderer,
        method=request.method,
        query_string=request.query,
        accept=request.accept,
        accept_encoding=request.accept_encoding,
    )


def plain(status: int, text: str) -> Response:
    """Return a short answer in plain text."""
    return _complete(status, [("Content-Type", "text/plain; charset=utf-8")], f"{text}\n".encode())


def _not_allowed() -> Response:
    response = plain(405, "Only GET and HEAD are served here.")
    return replace(response, headers=[*response.headers, ("Allow", ", ".join(METHODS))])


def _complete(status: int, headers: list[tuple[str, str]], body: bytes) -> Response:
    always = [
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Length", str(len(body))),
    ]
    return Response(status, [*headers, *always], body)


def _headers_only(response: Response) -> Response:
    return replace(response, body=b"")
