"""What the workers for ASGI applications do alike, beyond what every worker does."""

from __future__ import annotations

import contextlib
import http.client

from websockets.sync.client import connect

from tests.conformance.workers import CLIENT_GONE, WorkerConformance
from tests.support import clients
from tests.support.counting import (
    DURATION,
    ERRORS,
    EXCEPTIONS,
    FAILED,
    IN_PROGRESS,
    REQUESTS,
    RESPONSE_BYTES,
    WORKER_REQUESTS,
    counted,
)
from tests.support.gunicorn import Gunicorn


class ASGIWorkerConformance(WorkerConformance):
    """The suite with `tests.support.asgi_apps:app`."""

    application = "tests.support.asgi_apps:app"

    def test_malformed_requests_are_answered_by_the_server_and_seen_by_nobody(
        self, server: Gunicorn
    ) -> None:
        with counted(server, 1) as change:
            answers = [clients.send_raw(server.address, data) for data in clients.MALFORMED]
            server.get()

        assert {answer.split(b" ", 2)[1] for answer in answers} == {b"400"}
        assert change.by(REQUESTS, "endpoint") == {("/hello",): 1}
        assert change.sum(ERRORS) == 0

    def test_an_exception_after_the_start_of_the_response_keeps_its_status(
        self, server: Gunicorn
    ) -> None:
        """The server can only cut the response off: what the client got of it differs."""
        with counted(server, 1) as change, contextlib.suppress(http.client.HTTPException):
            server.get("/raise/started")

        labels = {"endpoint": "/raise/started", "error_type": "KeyError"}
        assert change.by(REQUESTS, "endpoint", "status") == {("/raise/started", "200"): 1}
        assert [change.sum(name, **labels) for name in (EXCEPTIONS, FAILED, ERRORS)] == [1, 1, 0]

    def test_an_exception_after_the_last_byte_counts_once(self, server: Gunicorn) -> None:
        """Starlette answers an exception itself and raises it on."""
        with counted(server, 1) as change:
            answer = server.get("/raise/complete")

        assert answer.body == b"complete"
        assert change.by(REQUESTS, "status") == {("500",): 1}
        assert change.by(EXCEPTIONS, "error_type") == {("LookupError",): 1}
        assert change.sum(ERRORS) == 0

    def test_a_websocket_is_no_request(self, server: Gunicorn) -> None:
        with counted(server, 1) as change:
            address = f"ws://127.0.0.1:{server.port}/socket"
            with connect(address, close_timeout=1) as websocket:
                websocket.send("hello")
                echoed = websocket.recv()
                in_progress = server.metrics().sum(IN_PROGRESS)
            server.get()

        assert echoed == "hello"
        assert in_progress == 0
        assert change.by(REQUESTS, "endpoint") == {("/hello",): 1}

    def test_lifespan_starts_once_in_each_worker(self, server: Gunicorn) -> None:
        started = server.metrics().sum("lifespan_events_total", event="lifespan.startup")

        assert started == 2

    def test_what_runs_on_after_the_answer_is_no_part_of_the_duration(
        self, server: Gunicorn
    ) -> None:
        with counted(server, 1) as change:
            server.get("/background?seconds=0.5")

        assert change.sum(DURATION, endpoint="/background") < 0.3

    def test_a_client_that_leaves_a_stream_that_listens_counts_once_as_499(
        self, server: Gunicorn
    ) -> None:
        """Starlette hears of the disconnect and ends the stream."""
        with counted(server, 2) as change:
            clients.reset_in_response(server.address, "/starlette-stream?n=2000&delay=0.01")
            server.get("/starlette-stream?n=3")

        assert change.by(REQUESTS, "status") == {(CLIENT_GONE,): 1, ("200",): 1}
        assert change.sum(EXCEPTIONS) == 0
        assert change.sum(DURATION) < 10

    def test_a_client_that_leaves_with_all_it_was_promised_is_content(
        self, server: Gunicorn
    ) -> None:
        with counted(server, 1) as change:
            assert server.get("/promised?seconds=0.2").body == b"promised"

        assert change.by(REQUESTS, "status") == {("200",): 1}

    def test_the_answer_to_head_has_no_size(self, server: Gunicorn) -> None:
        with counted(server, 1) as change:
            server.get("/hello", method="HEAD")

        assert change.sum(WORKER_REQUESTS) == 1
        assert change.sum(RESPONSE_BYTES) == 0
