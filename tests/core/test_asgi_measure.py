"""What is measured of an ASGI request, in each way that it can end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

import pytest

from gunicorn_prometheus_exporter.asgi import Application, Message, Receive, Scope, Send, measure
from gunicorn_prometheus_exporter.route import route_of
from tests.support.recording import Recording
from tests.support.samples import Samples

REQUESTS = "gunicorn_requests_total"
EXCEPTIONS = "gunicorn_request_exceptions_total"
ERRORS = "gunicorn_worker_error_handling_total"
IN_PROGRESS = "gunicorn_worker_requests_in_progress"
REQUEST_BYTES = "gunicorn_worker_request_size_bytes_sum"
RESPONSE_BYTES = "gunicorn_worker_response_size_bytes_sum"

GONE: Message = {"type": "http.disconnect"}


class Client:
    """The server's end of one request."""

    def __init__(self, *events: Message, left: bool = False, fails_after: int = 1000) -> None:
        """Tell the application of `events`; `send()` fails after as many messages."""
        self._events = list(events)
        self._left, self._fails_after = left, fails_after
        self.got: list[Message] = []

    async def receive(self) -> Message:
        """Return the next event."""
        return self._events.pop(0)

    async def send(self, message: Message) -> None:
        """Take a part of the response."""
        if len(self.got) >= self._fails_after:
            raise OSError("the client has left")
        self.got.append(message)

    def has_left(self, receive: Receive, send: Send) -> bool:
        """Return what the server knows."""
        assert (receive, send) == (self.receive, self.send)
        return self._left


def run(
    app: Application,
    client: Client | None = None,
    *,
    method: str = "GET",
    path: str = "/hello",
    root_path: str = "",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> Samples:
    """Measure one request; return what is exposed. What the application raises is swallowed."""
    client, recording = client or Client(), Recording()
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root_path,
        "headers": list(headers),
    }

    async def serve() -> None:
        recorder = recording.recorder
        await measure(app, scope, client.receive, client.send, recorder, client.has_left)

    with contextlib.suppress(ArithmeticError, OSError, asyncio.CancelledError):
        asyncio.run(serve())
    samples = recording.scrape()
    assert samples.sum(REQUESTS) == samples.sum("gunicorn_worker_requests_total") == 1
    assert samples.sum(IN_PROGRESS) == 0
    return samples


def status(samples: Samples) -> str:
    """Return the status that was recorded."""
    return samples.series(REQUESTS)[0].labels["status"]


def start(code: int = 200, length: int | None = None) -> Message:
    """Return the message that starts a response."""
    headers = [] if length is None else [(b"content-length", str(length).encode())]
    return {"type": "http.response.start", "status": code, "headers": headers}


def body(data: bytes = b"", *, more: bool = False) -> Message:
    """Return a message with a part of the body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


def answering(*messages: Message, then: BaseException | None = None) -> Application:
    """Return an application that sends `messages`, and raises in the end."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if then is not None:
            raise then

    return app


HELLO = answering(start(), body(b"hel", more=True), body(b"lo"))


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send back what arrives until it ends or the client leaves."""
    data, more = b"", True
    while more:
        message = await receive()
        data += message.get("body", b"")
        more = message.get("more_body", False)
    await send(start())
    await send(body(data))


def test_an_answer_has_its_status_and_the_size_of_its_parts() -> None:
    samples = run(HELLO)

    assert status(samples) == "200"
    assert samples.sum(RESPONSE_BYTES) == 5


def test_the_answer_to_head_has_no_size() -> None:
    assert run(HELLO, method="HEAD").sum(RESPONSE_BYTES) == 0


def test_the_deployment_prefix_is_no_part_of_the_endpoint() -> None:
    samples = run(HELLO, path="/shop/users/17", root_path="/shop")

    assert samples.label_values(REQUESTS, "endpoint") == {"/users/:id"}


def test_the_route_is_what_the_application_made_it_by_the_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        route_of(scope).endpoint = "/users/{id}"
        await send(body())

    assert run(app).label_values(REQUESTS, "endpoint") == {"/users/{id}"}


@pytest.mark.parametrize("announced", [True, False])
def test_a_request_body_is_as_long_as_announced_or_as_what_arrived(announced: bool) -> None:
    parts: list[Message] = [
        {"type": "http.request", "body": b"12345", "more_body": True},
        {"type": "http.request", "body": b"678"},
    ]
    headers = [(b"content-length", b"8")] if announced else []

    samples = run(echo, Client(*parts), method="POST", headers=headers)

    assert samples.sum(REQUEST_BYTES) == samples.sum(RESPONSE_BYTES) == 8


def test_a_wrong_content_length_is_no_fault() -> None:
    samples = run(HELLO, headers=[(b"content-length", b"many")])

    assert samples.sum(REQUEST_BYTES) == 0
    assert samples.sum("gunicorn_exporter_recorder_errors_total") == 0


@pytest.mark.parametrize(
    ("sent", "recorded", "errors"),
    [
        ([], "500", 1),
        ([start(201)], "201", 0),
        ([start(201), body(b"x", more=True)], "201", 0),
        ([start(500), body(b"sorry")], "500", 0),
    ],
    ids=["before the start", "started", "in the body", "after the last byte"],
)
def test_an_exception_counts_once_whenever_it_is_raised(
    sent: list[Message], recorded: str, errors: int
) -> None:
    """Only what is raised before the start is answered by the server."""
    samples = run(answering(*sent, then=ZeroDivisionError()))

    assert status(samples) == recorded
    assert samples.sum(EXCEPTIONS, error_type="ZeroDivisionError") == 1
    assert samples.sum(ERRORS) == errors


def test_an_application_that_answers_nothing_is_a_500() -> None:
    assert status(run(answering())) == "500"


@pytest.mark.parametrize(
    ("app", "client"),
    [
        pytest.param(HELLO, Client(fails_after=1), id="send-fails"),
        pytest.param(answering(start(), then=asyncio.CancelledError()), Client(), id="cancelled"),
        pytest.param(HELLO, Client(left=True), id="server-knows"),
        pytest.param(
            answering(start(), body(b"x", more=True), then=ZeroDivisionError()),
            Client(left=True),
            id="application-trips-over-it",
        ),
    ],
)
def test_a_client_that_leaves_is_a_499_and_no_exception(app: Application, client: Client) -> None:
    samples = run(app, client)

    assert status(samples) == "499"
    assert samples.sum(EXCEPTIONS) == samples.sum(ERRORS) == 0


def test_an_application_that_hears_of_a_disconnect_and_stops_is_a_499() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await receive()

    assert status(run(app, Client(GONE))) == "499"


def test_an_application_that_hears_of_a_disconnect_and_answers_was_told_too_early() -> None:
    """gunicorn 27.0.1 tells of one after any cancelled receive()."""
    assert status(run(echo, Client(GONE))) == "200"


@pytest.mark.parametrize(("announced", "recorded"), [(5, "200"), (6, "499")])
def test_a_client_may_leave_with_all_that_was_announced(announced: int, recorded: str) -> None:
    app = answering(start(length=announced), body(b"hello", more=True), body())

    assert status(run(app, Client(left=True))) == recorded


def test_the_request_ends_with_its_last_byte() -> None:
    recording = Recording()
    in_progress: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await HELLO(scope, receive, send)
        in_progress.append(recording.scrape().sum(IN_PROGRESS))

    client = Client()
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(measure(app, scope, client.receive, client.send, recording.recorder))

    assert in_progress == [0]
    assert recording.scrape().sum(REQUESTS) == 1
