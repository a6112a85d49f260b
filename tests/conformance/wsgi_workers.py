"""What the workers for WSGI applications do alike, beyond what every worker does."""

from __future__ import annotations

import http.client

import pytest

from tests.conformance.workers import CLIENT_GONE, WorkerConformance, exchange
from tests.support import clients
from tests.support.counting import (
    ERRORS,
    EXCEPTIONS,
    FAILED,
    REQUEST_BYTES,
    REQUESTS,
    RESPONSE_BYTES,
    counted,
)
from tests.support.gunicorn import Gunicorn

HOST = b"Host: test\r\n"
REFUSED = {
    **{f"malformed-{number}": data for number, data in enumerate(clients.MALFORMED)},
    "long-line": b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "long-header": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 10_000 + b"\r\n\r\n",
    "coding": b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: zip\r\n\r\n",
    "folding": b"GET / HTTP/1.1\r\n" + HOST + b"X: 1\r\n 2\r\n\r\n",
    "expectation": b"GET / HTTP/1.1\r\n" + HOST + b"Expect: miracles\r\n\r\n",
}
"""What the worker refuses before it is a request, and in some versions serves all the same."""

BAD_CHUNK = b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"


class WSGIWorkerConformance(WorkerConformance):
    """The suite with `tests.support.apps:app`."""

    application = "tests.support.apps:app"

    @pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
    def test_a_malformed_request_counts_with_the_status_that_it_was_answered(
        self, server: Gunicorn, data: bytes
    ) -> None:
        with counted(server, 1) as change:
            status = status_in(clients.send_raw(server.address, data))

        refused = {("OTHER", "<unmatched>", status): 1}
        served = {("GET", "/", status): 1}
        assert change.by(REQUESTS, "method", "endpoint", "status") in (refused, served)
        was_served = status == "200"
        assert change.sum(ERRORS, method="OTHER", endpoint="<unmatched>") == (not was_served)
        assert change.sum(EXCEPTIONS) == 0

    def test_a_malformed_body_counts_with_the_status_that_it_was_answered(
        self, server: Gunicorn
    ) -> None:
        """Some versions answer, some only close: then nobody got anything."""
        with counted(server, 1) as change:
            answer = clients.send_raw(server.address, BAD_CHUNK)

        status = status_in(answer) if answer else CLIENT_GONE
        assert change.by(REQUESTS, "endpoint", "status") == {("/echo", status): 1}

    @pytest.mark.parametrize(
        ("path", "error_type"),
        [("/raise/started", "KeyError"), ("/raise/first-item", "ValueError")],
    )
    def test_an_exception_before_anything_was_sent_is_a_500_whatever_was_announced(
        self, server: Gunicorn, path: str, error_type: str
    ) -> None:
        with counted(server, 1) as change:
            answer = server.get(path)

        labels = {"endpoint": path, "error_type": error_type}
        assert answer.status == 500
        assert change.by(REQUESTS, "endpoint", "status") == {(path, "500"): 1}
        assert [change.sum(name, **labels) for name in (EXCEPTIONS, FAILED, ERRORS)] == [1, 1, 1]

    def test_an_os_error_of_the_application_is_not_taken_for_a_client_that_left(
        self, server: Gunicorn
    ) -> None:
        with counted(server, 1) as change, pytest.raises(http.client.RemoteDisconnected):
            server.get("/raise/os-error")

        assert change.by(REQUESTS, "status") == {("500",): 1}
        assert change.by(EXCEPTIONS, "error_type") == {("FileNotFoundError",): 1}

    def test_a_client_that_resets_while_it_uploads_counts_once_as_499(
        self, server: Gunicorn
    ) -> None:
        head = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n"
        with counted(server, 1) as change, clients.connected(server.address) as client:
            client.sendall(head + b"x" * 1000)
            server.wait_for(
                lambda: server.metrics().sum("gunicorn_worker_requests_in_progress") == 1
            )
            clients.reset(client)

        assert change.by(REQUESTS, "endpoint", "status") == {("/echo", CLIENT_GONE): 1}
        assert change.sum(EXCEPTIONS) == 0

    def test_files_sent_by_the_kernel_are_measured(self, server: Gunicorn) -> None:
        with counted(server, 1) as change:
            answer = server.get("/sendfile?size=200000")

        assert answer.body == b"f" * 200_000
        assert change.sum(RESPONSE_BYTES) == 200_000

    def test_the_answer_to_head_has_the_size_that_was_sent(self, server: Gunicorn) -> None:
        """The application gives a body all the same, which gunicorn < 26 sends."""
        with counted(server, 1) as change:
            answer = exchange(server, "HEAD", "/hello")

        assert change.sum(RESPONSE_BYTES) == len(answer.partition(b"\r\n\r\n")[2])

    def test_a_body_that_nobody_reads_is_as_long_as_announced(self, server: Gunicorn) -> None:
        with counted(server, 1) as change:
            server.get("/unread", method="POST", body=b"b" * 5000)

        assert change.sum(REQUEST_BYTES) == 5000


def status_in(answer: bytes) -> str:
    """Return the status of a raw answer."""
    return answer.split(b" ", 2)[1].decode()
