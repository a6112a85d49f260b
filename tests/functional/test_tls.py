"""Requests over TLS and HTTP/2 are counted as any others, by every worker that speaks them."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from tests.support.certificates import Certificates
from tests.support.counting import (
    DURATION,
    ERRORS,
    EXCEPTIONS,
    REQUEST_BYTES,
    REQUESTS,
    RESPONSE_BYTES,
    counted,
    wait_running,
)
from tests.support.gunicorn import Gunicorn, running_gunicorn

WSGI, ASGI = "tests.support.apps:app", "tests.support.asgi_apps:app"
HTTP1, HTTP2 = "HTTP/1.1", "HTTP/2"
WORKERS = {
    "Worker": (WSGI, [HTTP1]),
    "ThreadWorker": (WSGI, [HTTP1, HTTP2]),
    "GeventWorker": (WSGI, [HTTP1, HTTP2]),
    "EventletWorker": (WSGI, [HTTP1, HTTP2]),
    "ASGIWorker": (ASGI, [HTTP1, HTTP2]),
    "UvicornWorker": (ASGI, [HTTP1]),
}
"""What each worker runs, and which versions of HTTP it speaks over TLS."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One authority for all servers of this module."""
    return Certificates.create(tmp_path_factory.mktemp("certificates"))


def configuration(certificates: Certificates, versions: list[str]) -> str:
    """Return the configuration of a server that speaks `versions` over TLS."""
    lines = [
        f"certfile = {str(certificates.server_cert)!r}",
        f"keyfile = {str(certificates.server_key)!r}",
        "threads = 4",
        "http_protocols = 'h2,h1'" if HTTP2 in versions else "",
    ]
    return "\n".join(lines)


def ask(server: Gunicorn, certificates: Certificates, version: str) -> list[httpx.Response]:
    """Send seven requests over one connection; return the answers."""
    with client_of(server, certificates, version) as client:
        return [
            client.get("/hello"),
            client.get("/status/404"),
            client.get("/raise/before"),
            client.post("/echo", content=b"b" * 70_000),
            client.get("/stream?n=3&delay=0.04"),
            client.get("/big?size=300000"),
            client.head("/hello"),
        ]


def client_of(server: Gunicorn, certificates: Certificates, version: str) -> httpx.Client:
    """Return a client that speaks `version` with the server."""
    return httpx.Client(
        base_url=f"https://127.0.0.1:{server.port}",
        verify=certificates.client_context(),
        http1=version == HTTP1,
        http2=version == HTTP2,
        timeout=30,
    )


def leave_in_stream(server: Gunicorn, certificates: Certificates, version: str) -> None:
    """Close the connection in the middle of a response."""
    with (
        client_of(server, certificates, version) as client,
        client.stream("GET", "/stream?n=200&delay=0.01") as answer,
    ):
        next(answer.iter_raw())


@pytest.mark.parametrize("worker", WORKERS)
def test_requests_over_tls_are_counted_like_any_other(
    worker: str, certificates: Certificates
) -> None:
    app, versions = WORKERS[worker]
    config = configuration(certificates, versions)
    worker_class = f"gunicorn_prometheus_exporter.Prometheus{worker}"
    with running_gunicorn(app, worker_class=worker_class, config=config) as server:
        wait_running(server)
        for version in versions:
            with counted(server, 7) as change:
                answers = ask(server, certificates, version)

            assert {answer.http_version for answer in answers} == {version}
            statuses = Counter((str(answer.status_code),) for answer in answers)
            assert change.by(REQUESTS, "status") == statuses
            assert change.by(EXCEPTIONS, "error_type") == {("ValueError",): 1}
            assert change.sum(REQUEST_BYTES) == 70_000
            assert change.sum(DURATION, endpoint="/stream") >= 0.12
            # What the worker itself answers to an exception is no response of the application.
            sizes = sum(len(answer.content) for answer in answers if answer.status_code != 500)
            assert change.sum(RESPONSE_BYTES) == sizes

            with counted(server, 1) as change:
                leave_in_stream(server, certificates, version)

            assert change.by(REQUESTS, "status") == {("499",): 1}
            assert change.sum(EXCEPTIONS) == change.sum(ERRORS) == 0
