"""The bridges: ASGI applications under WSGI servers, and WSGI applications under ASGI servers."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from gunicorn_prometheus_asgi import AsgiToWsgi, LifespanError, PrometheusMiddleware, WsgiToAsgi
from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.route import UNMATCHED, route_of
from gunicorn_prometheus_flask import PrometheusExporter
from tests.conformance.adapters import Client, moved, total
from tests.integrations import test_flask
from tests.integrations.asgi_client import AsgiClient
from tests.integrations.test_asgi import AsgiConformance, little_fastapi
from tests.integrations.test_flask import little_application
from tests.integrations.wsgi_client import WsgiClient, wsgi_environ
from tests.support.waiting import wait_until

REQUESTS = "gunicorn_requests_total"
EXCEPTIONS = "gunicorn_request_exceptions_total"
IN_PROGRESS = "gunicorn_worker_requests_in_progress"


class TestFastAPIUnderWsgiConformance(AsgiConformance):
    """FastAPI under a WSGI server behaves as every adapter does."""

    random_requests = 500

    @pytest.fixture(autouse=True)
    def _stop_bridges(self) -> Iterator[None]:
        self.bridges: list[AsgiToWsgi] = []
        yield
        for bridge in self.bridges:
            bridge.stop()

    def client(self, **settings: Any) -> Client:
        PrometheusMiddleware(little_fastapi(), **settings)  # a wrong setting raises here
        app = little_fastapi()
        app.add_middleware(PrometheusMiddleware, **settings)
        self.bridges.append(AsgiToWsgi(app))
        return WsgiClient(self.bridges[-1])


class TestFlaskUnderAsgiConformance(test_flask.TestFlaskConformance):
    """Flask under an ASGI server behaves as every adapter does."""

    random_requests = 500

    def client(self, **settings: Any) -> Client:
        return AsgiClient(WsgiToAsgi(little_application(**settings)))


@contextmanager
def bridged(app: Any, **options: Any) -> Iterator[AsgiToWsgi]:
    """Serve `app` over the bridge for the length of the block."""
    bridge = AsgiToWsgi(app, **options)
    try:
        yield bridge
    finally:
        bridge.stop()


def with_middleware(*routes: Route, **options: Any) -> Starlette:
    app = Starlette(routes=list(routes), **options)
    app.add_middleware(PrometheusMiddleware)
    return app


async def plain(request: Request) -> Response:
    return PlainTextResponse("plain")


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_nothing_runs_before_the_first_request() -> None:
    """With --preload the application is made in the master, whose threads a fork would lose."""
    with bridged(with_middleware(Route("/plain", plain))) as bridge:
        assert "asgi" not in threads()
        assert WsgiClient(bridge)("/plain").body == b"plain"
        assert "asgi" in threads()

    assert "asgi" not in threads()


def test_a_forked_process_has_an_event_loop_of_its_own() -> None:
    """Also when the process before it has served already."""
    with bridged(with_middleware(Route("/plain", plain))) as bridge:
        client = WsgiClient(bridge)
        assert client("/plain").status == 200

        pid = os.fork()
        if pid == 0:  # the child must not return into pytest
            answered = False
            try:
                answered = client("/plain").body == b"plain"
                bridge.stop()
            finally:
                os._exit(0 if answered else 1)

        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert client("/plain").status == 200


def recorded_lifespan(seen: list[str]) -> Any:
    """Return a lifespan that writes down what happens and sets some state."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        seen.append("started")
        yield {"database": "connected"}
        seen.append("ended")

    return lifespan


def test_the_lifespan_runs_once() -> None:
    """At the first request or `start()`, and at `stop()`; requests see its state."""
    seen: list[str] = []

    async def state(request: Request) -> Response:
        return PlainTextResponse(request.state.database)

    app = with_middleware(Route("/state", state), lifespan=recorded_lifespan(seen))
    with bridged(app) as bridge:
        bridge.start()
        bridge.start()
        assert seen == ["started"]
        for _ in range(3):
            assert WsgiClient(bridge)("/state").body == b"connected"

    assert seen == ["started", "ended"]


def test_requests_that_come_together_start_it_once() -> None:
    """Threads of a worker wait for the one that starts the application."""
    seen: list[str] = []
    app = with_middleware(Route("/plain", plain), lifespan=recorded_lifespan(seen))
    with bridged(app) as bridge:
        answers: list[int] = []
        calls = [
            threading.Thread(target=lambda: answers.append(WsgiClient(bridge)("/plain").status))
            for _ in range(8)
        ]
        for call in calls:
            call.start()
        for call in calls:
            call.join()

    assert answers == [200] * 8
    assert seen == ["started", "ended"]


def test_a_failing_start_is_an_error_and_is_tried_again() -> None:
    """An application that cannot start never answers; a later request may find it can."""
    failures = [ConnectionError("no database")]

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        if failures:
            raise failures.pop()
        yield

    with bridged(with_middleware(Route("/plain", plain), lifespan=lifespan)) as bridge:
        with pytest.raises(LifespanError):
            bridge.start()
        assert WsgiClient(bridge)("/plain").status == 200


def test_a_wrong_setting_stops_the_start() -> None:
    """Starlette builds its middleware when it is first called, which is for its lifespan."""
    app = Starlette()
    app.add_middleware(PrometheusMiddleware, buckets="fast,slow")
    with bridged(app) as bridge, pytest.raises(SettingsError, match="buckets"):
        bridge.start()


def test_an_application_without_lifespan_is_served() -> None:
    """Bare ASGI applications often know only of HTTP."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await PlainTextResponse("bare")(scope, receive, send)

    with bridged(bare) as bridge:
        assert WsgiClient(bridge)("/").body == b"bare"


def test_the_route_crosses_the_bridge() -> None:
    """What the middleware finds stands in the environ, where the worker looks for it."""
    with bridged(with_middleware(Route("/u/{id:int}", plain))) as bridge:
        environ = wsgi_environ("/u/7")
        route_of(environ).measured = True

        b"".join(bridge(environ, lambda *arguments: lambda chunk: None))

        assert route_of(environ).endpoint == "/u/{id:int}"


def test_an_exception_crosses_the_bridge() -> None:
    """Also without our middleware, which the worker's metrics of failures do not need."""

    async def boom(request: Request) -> Response:
        raise LookupError("boom")

    with bridged(Starlette(routes=[Route("/boom", boom)])) as bridge:
        environ = wsgi_environ("/boom")

        b"".join(bridge(environ, lambda *arguments: lambda chunk: None))

        assert isinstance(route_of(environ).exception, LookupError)


def test_what_is_raised_after_the_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No one else hears of it: the server has the whole answer by then."""

    def fails() -> None:
        raise LookupError("in the background")

    async def answer(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(fails))

    with bridged(with_middleware(Route("/answer", answer))) as bridge:
        assert WsgiClient(bridge)("/answer").body == b"ok"

    assert "in the background" in caplog.text


@pytest.mark.parametrize("failure", ["returns", "cancelled", "raises"])
def test_an_application_that_gives_no_response_is_a_500(failure: str) -> None:
    """And never a request that hangs."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if failure == "cancelled":
            raise asyncio.CancelledError
        if failure == "raises":
            raise LookupError

    with bridged(bare) as bridge:
        assert WsgiClient(bridge)("/").status == 500


def test_background_tasks_do_not_hold_up_the_worker() -> None:
    """The response is over with its last byte; the task goes on, and is awaited at the end."""
    release, seen = threading.Event(), list[str]()

    def slow() -> None:
        release.wait(10)
        seen.append("done")

    async def answer(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(slow))

    with bridged(with_middleware(Route("/answer", answer))) as bridge:
        assert WsgiClient(bridge)("/answer").body == b"ok"
        assert seen == []
        release.set()

    assert seen == ["done"]


def test_a_client_that_leaves_ends_its_request() -> None:
    """The application is cancelled, the request is a 499, and nothing stays in progress."""

    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b"tick"
            await asyncio.sleep(0)

    async def ticks(request: Request) -> Response:
        return StreamingResponse(forever())

    labels = {"endpoint": "/ticks", "status": "499"}
    with bridged(with_middleware(Route("/ticks", ticks))) as bridge:
        before, in_progress = total(REQUESTS, **labels), total(IN_PROGRESS)

        body: Any = bridge(wsgi_environ("/ticks"), lambda *arguments: lambda chunk: None)
        assert next(iter(body)) == b"tick"
        assert total(IN_PROGRESS) == in_progress + 1
        body.close()

        wait_until(lambda: total(REQUESTS, **labels) == before + 1, 10, "the request to be counted")
        assert total(IN_PROGRESS) == in_progress


def test_bodies_are_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    """With a length and without: a chunked upload has none."""
    caplog.set_level(logging.ERROR)
    with bridged(with_middleware(Route("/echo", echo, methods=["POST"]))) as bridge:
        client = WsgiClient(bridge)
        big = b"x" * 3_000_000
        assert client("/echo", method="POST", body=big).body == big
        assert client("/echo", method="POST", body=b"").body == b""

        environ = wsgi_environ("/echo", method="POST")
        environ.pop("CONTENT_LENGTH", None)
        environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(big)}
        body: Any = bridge(environ, lambda *arguments: lambda chunk: None)
        assert b"".join(body) == big
        body.close()


def test_a_head_request_has_no_body() -> None:
    """gunicorn's WSGI workers would send it, and the next response would be unreadable."""
    with bridged(little_fastapi()) as bridge:
        answer = WsgiClient(bridge)("/plain", method="HEAD")
        assert answer.status == 405

    with bridged(with_middleware(Route("/plain", plain))) as bridge:
        answer = WsgiClient(bridge)("/plain", method="HEAD")
        assert (answer.status, answer.body) == (200, b"")


def test_sync_endpoints_of_fastapi_run() -> None:
    """They run in threads of their own."""
    app = FastAPI()
    app.add_api_route("/sync/{n}", lambda n: threading.current_thread().name)
    with bridged(app) as bridge:
        assert b"AnyIO" in WsgiClient(bridge)("/sync/1").body


def test_a_wsgi_application_is_counted_once_by_its_own_adapter() -> None:
    """Flask within the bridge within our middleware: one request, Flask's rule."""
    client = AsgiClient(PrometheusMiddleware(WsgiToAsgi(little_application())))

    assert moved(lambda: client("/users/7"), REQUESTS) == 1
    assert moved(lambda: client("/users/7"), REQUESTS, endpoint="/users/<int:uid>") == 1
    assert moved(lambda: client("/nope"), REQUESTS, endpoint=UNMATCHED) == 1
    assert moved(lambda: client("/hidden"), REQUESTS) == 0
    assert moved(lambda: client("/boom"), EXCEPTIONS) == 1


def test_an_asgi_application_is_counted_once_by_its_own_adapter() -> None:
    """Starlette within the bridge as a Flask application's mount."""
    from flask import Flask
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    outer = Flask("outer")
    with bridged(with_middleware(Route("/u/{id:int}", plain))) as bridge:
        outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/api": bridge})  # type: ignore[method-assign]
        PrometheusExporter(outer)
        client = WsgiClient(outer)

        assert client("/api/u/7").body == b"plain"
        assert moved(lambda: client("/api/u/7"), REQUESTS) == 1
        assert moved(lambda: client("/api/u/7"), REQUESTS, endpoint="/u/{id:int}") == 1
