"""The ASGI middleware: the suite of all adapters, and how it fits into Starlette and FastAPI."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.websockets import WebSocket

from gunicorn_prometheus_asgi import PrometheusMiddleware, exclude, routing
from gunicorn_prometheus_exporter.route import route_of
from tests.conformance.adapters import (
    CHUNKS,
    AdapterConformance,
    BrokenError,
    Client,
    SwallowedError,
    label_values,
    moved,
    total,
)
from tests.integrations.asgi_client import AsgiClient, http_scope

REQUESTS = "gunicorn_requests_total"
EXCEPTIONS = "gunicorn_request_exceptions_total"
IN_PROGRESS = "gunicorn_worker_requests_in_progress"

Endpoint = Callable[[Request], Awaitable[Response]]
PLAIN_PATHS = ("/plain", "/healthz", "/labelled", "/bucketed", "/grouped", "/prefixed")


async def plain(request: Request) -> Response:
    return PlainTextResponse("plain")


async def user(request: Request) -> Response:
    return PlainTextResponse(f"user {request.path_params['id']}")


async def absent(request: Request) -> Response:
    return PlainTextResponse("no such thing", 404)


async def boom(request: Request) -> Response:
    return PlainTextResponse(str(1 // 0))


async def swallowed(request: Request) -> Response:
    raise SwallowedError


@exclude
async def hidden(request: Request) -> Response:
    return PlainTextResponse("hidden")


async def stream(request: Request) -> Response:
    return StreamingResponse(_chunks())


async def broken_stream(request: Request) -> Response:
    return StreamingResponse(_chunks(broken=True))


async def _chunks(*, broken: bool = False) -> AsyncIterator[bytes]:
    for chunk in CHUNKS:
        yield chunk
        if broken:
            raise BrokenError


async def sorry(request: Request, error: Exception) -> Response:
    return PlainTextResponse("sorry", 500)


LITTLE_ROUTES: dict[str, Endpoint] = {
    **dict.fromkeys(PLAIN_PATHS, plain),
    "/users/{id:int}": user,
    "/absent": absent,
    "/boom": boom,
    "/swallowed": swallowed,
    "/hidden": hidden,
    "/stream": stream,
    "/broken-stream": broken_stream,
}


def little_starlette() -> Starlette:
    """Return the application of the conformance suite, without the middleware."""
    routes = [Route(path, endpoint) for path, endpoint in LITTLE_ROUTES.items()]
    return Starlette(routes=routes, exception_handlers={SwallowedError: sorry})


def little_fastapi() -> FastAPI:
    """Return the same as FastAPI has it."""
    app = FastAPI(openapi_url=None, exception_handlers={SwallowedError: sorry})
    for path, endpoint in LITTLE_ROUTES.items():
        app.add_api_route(path, endpoint, methods=["GET"], response_model=None)
    return app


class AsgiConformance(AdapterConformance):
    """What the subclasses for Starlette and FastAPI share."""

    user_template = "/users/{id:int}"

    def break_resolver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(entry: object) -> None:
            raise RuntimeError("no route today")

        monkeypatch.setattr(routing.Entry, "find", broken)


class TestStarletteConformance(AsgiConformance):
    """Starlette behaves as every adapter does, with the middleware added to it."""

    def client(self, **settings: Any) -> Client:
        app = little_starlette()
        app.add_middleware(PrometheusMiddleware, **settings)
        return AsgiClient(app)


class TestFastAPIConformance(AsgiConformance):
    """FastAPI behaves as every adapter does, with the middleware added to it."""

    def client(self, **settings: Any) -> Client:
        app = little_fastapi()
        app.add_middleware(PrometheusMiddleware, **settings)
        return AsgiClient(app)


class TestFastAPIFromOutsideConformance(AsgiConformance):
    """The middleware may also be wrapped around the application."""

    random_requests = 1_000

    def client(self, **settings: Any) -> Client:
        return AsgiClient(PrometheusMiddleware(little_fastapi(), **settings))


class PassingOn(BaseHTTPMiddleware):
    """What `@app.middleware("http")` makes: runs what is within it in another task."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestBehindBaseHTTPMiddlewareConformance(AsgiConformance):
    """A BaseHTTPMiddleware between us and the router hides nothing."""

    random_requests = 200

    @pytest.fixture(autouse=True)
    def _collect_unclosed_streams(self) -> Iterator[None]:
        """Old Starlettes leave streams open where an application raises."""
        yield
        gc.collect()

    def client(self, **settings: Any) -> Client:
        app = little_fastapi()
        app.add_middleware(PassingOn)
        app.add_middleware(PrometheusMiddleware, **settings)
        return AsgiClient(app)


def with_middleware(*routes: Any, **options: Any) -> Starlette:
    """Return a Starlette application with the middleware."""
    app = Starlette(routes=list(routes), **options)
    app.add_middleware(PrometheusMiddleware)
    return app


def test_a_middleware_that_is_there_twice_counts_once() -> None:
    """Added, wrapped around, and in a mounted application: one request, one count."""
    inner = with_middleware(Route("/x/{a}", plain))
    app = with_middleware(Mount("/inner/{tenant}", inner))
    app.add_middleware(PrometheusMiddleware)
    client = AsgiClient(PrometheusMiddleware(app))

    assert moved(lambda: client("/inner/42/x/1"), REQUESTS) == 1
    labels = {"endpoint": "/inner/{tenant}/x/{a}"}
    assert moved(lambda: client("/inner/42/x/1"), REQUESTS, **labels) == 1


WEBSOCKET = {"type": "websocket", "scheme": "ws", "subprotocols": []}


async def events(app: Any, scope: dict[str, Any], *received: str) -> list[Any]:
    """Return what `app` sends when it receives these events."""
    sent: list[Any] = []
    pending = [{"type": kind} for kind in reversed(received)]

    async def receive() -> Any:
        return pending.pop()

    async def send(event: Any) -> None:
        sent.append(event)

    await app(scope, receive, send)
    return sent


def test_a_websocket_is_no_request() -> None:
    """A connection lasts for hours: it would spoil every duration."""
    app = FastAPI()
    app.add_middleware(PrometheusMiddleware)

    @app.websocket("/ws/{room}")
    async def talk(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.send_text(room)
        await websocket.close()

    def act() -> None:
        sent = asyncio.run(events(app, http_scope("/ws/1") | WEBSOCKET, "websocket.connect"))
        assert [event.get("text") for event in sent] == [None, "1", None]

    assert moved(act, REQUESTS) == 0
    assert moved(act, IN_PROGRESS) == 0


def test_the_lifespan_passes_through() -> None:
    """The application starts and ends as it would without us."""
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        seen.append("started")
        yield
        seen.append("ended")

    for app in (
        with_middleware(lifespan=lifespan),
        PrometheusMiddleware(Starlette(lifespan=lifespan)),
    ):
        seen.clear()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        asyncio.run(events(app, scope, "lifespan.startup", "lifespan.shutdown"))
        assert seen == ["started", "ended"]


def test_an_exception_counts_once_whether_a_handler_answers_it_or_not() -> None:
    """A handler for all exceptions answers first, and Starlette raises the exception again."""
    app = with_middleware(Route("/boom", boom), exception_handlers={Exception: sorry})

    for client in (AsgiClient(app), AsgiClient(PrometheusMiddleware(app))):
        act = lambda client=client: client("/boom")  # noqa: E731
        assert act().status == 500
        assert moved(act, EXCEPTIONS) == 1
        assert moved(act, EXCEPTIONS, endpoint="/boom", error_type="ZeroDivisionError") == 1


def test_a_sync_handler_is_seen_too() -> None:
    """Starlette runs it in a thread, but sends its response itself."""
    handlers: dict[Any, Any] = {SwallowedError: lambda request, error: PlainTextResponse("sorry")}
    client = AsgiClient(with_middleware(Route("/s", swallowed), exception_handlers=handlers))

    assert client("/s") == client("/s")
    assert client("/s").body == b"sorry"
    assert moved(lambda: client("/s"), EXCEPTIONS, error_type="SwallowedError") == 1


def test_the_exception_of_a_caller_is_none_of_the_request() -> None:
    """A client may well be called while an exception is handled."""
    client = AsgiClient(with_middleware(Route("/plain", plain)))

    def act() -> None:
        try:
            raise LookupError("the caller's own")
        except LookupError:
            client("/plain")

    assert moved(act, EXCEPTIONS) == 0


def test_invalid_input_is_no_exception() -> None:
    """FastAPI's 422 is an answer to the client."""
    app = FastAPI()
    app.add_middleware(PrometheusMiddleware)
    app.add_api_route("/i/{i}", _typed)
    client = AsgiClient(app)

    assert client("/i/x").status == 422
    assert moved(lambda: client("/i/x"), EXCEPTIONS) == 0
    assert moved(lambda: client("/i/x"), REQUESTS, endpoint="/i/{i}", status="422") == 1


async def _typed(i: int) -> int:
    return i


def test_labels_get_a_starlette_request() -> None:
    """With its path parameters, headers and state."""
    app = Starlette(routes=[Route("/plans/{plan}", plain)])
    labels = {"plan": lambda request: request.path_params["plan"] + request.headers["x-more"]}
    app.add_middleware(PrometheusMiddleware, labels=labels)

    AsgiClient(app)("/plans/gold", headers={"X-More": "-eu"})

    assert "gold-eu" in label_values(REQUESTS, "plan", endpoint="/plans/{plan}")


def test_background_tasks_are_not_part_of_the_duration() -> None:
    """The client has its answer; the request is no longer in progress."""
    counted: list[float] = []

    async def background() -> None:
        counted.append(total(REQUESTS, endpoint="/background"))
        counted.append(total(IN_PROGRESS))

    async def answer(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(background))

    AsgiClient(with_middleware(Route("/background", answer)))("/background")

    assert counted == [1.0, 0.0]


def leave_after(app: Any, path: str, messages: int) -> None:
    """Send a request, and leave after this many messages of its response."""

    async def exchange() -> None:
        left = asyncio.Event()
        sent = 0
        requests: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if requests:
                return requests.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal sent
            if left.is_set():
                raise OSError("the client has left")
            sent += 1
            if sent == messages:
                left.set()

        scope = http_scope(path)
        try:
            await app(scope, receive, send)
        except Exception:  # noqa: BLE001 - as a server
            return

    asyncio.run(exchange())


def test_a_client_that_leaves_is_counted_once_as_499() -> None:
    """No exception of the application, and nothing stays in progress."""
    app = with_middleware(Route("/stream", stream))
    labels = {"endpoint": "/stream", "status": "499"}

    assert moved(lambda: leave_after(app, "/stream", 2), REQUESTS, **labels) == 1
    assert moved(lambda: leave_after(app, "/stream", 2), REQUESTS) == 1
    assert moved(lambda: leave_after(app, "/stream", 2), EXCEPTIONS) == 0
    assert moved(lambda: leave_after(app, "/stream", 2), IN_PROGRESS) == 0


def test_a_cancelled_request_is_counted_once_as_499() -> None:
    """Servers cancel a request whose client has gone."""
    started = asyncio.Event()

    async def hang(request: Request) -> Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError("never")

    app = with_middleware(Route("/hang/{n}", hang))

    async def exchange() -> None:
        async def nothing(*message: Any) -> Any:
            return {"type": "http.request"}

        task = asyncio.ensure_future(app(http_scope("/hang/1"), nothing, nothing))
        await started.wait()
        task.cancel()
        await asyncio.wait({task})

    labels = {"endpoint": "/hang/{n}", "status": "499"}
    assert moved(lambda: asyncio.run(exchange()), REQUESTS, **labels) == 1
    assert moved(lambda: asyncio.run(exchange()), IN_PROGRESS) == 0


def test_sizes_are_those_of_the_bodies() -> None:
    """What the application reads where no length is announced, and what it sends."""

    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body() * 2)

    client = AsgiClient(with_middleware(Route("/echo", echo, methods=["POST"])))

    act = lambda: client("/echo", method="POST", body=b"x" * 100)  # noqa: E731
    assert moved(act, "gunicorn_worker_request_size_bytes_sum") == 100
    assert moved(act, "gunicorn_worker_response_size_bytes_sum") == 200


def test_an_application_of_no_framework_is_left_to_inference() -> None:
    """Without routes to look at, the endpoint comes from the path."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"bare"})

    client = AsgiClient(PrometheusMiddleware(bare))

    assert moved(lambda: client("/bare/123"), REQUESTS, endpoint="/bare/:id") == 1


def test_a_request_that_is_measured_already_is_only_named() -> None:
    """Another adapter around the application, such as a bridge's, counts it."""
    app = with_middleware(Route("/users/{id:int}", user))
    scope = http_scope("/users/7")
    route_of(scope).measured = True

    async def nothing(*message: Any) -> Any:
        return {"type": "http.request"}

    assert moved(lambda: asyncio.run(app(scope, nothing, nothing)), REQUESTS) == 0
    assert route_of(scope).endpoint == "/users/{id:int}"


def test_the_label_stands_in_the_scope_when_the_response_starts() -> None:
    """A worker may record the request with its last byte."""
    app = with_middleware(Route("/users/{id:int}", user))
    scope = http_scope("/users/7")
    seen: list[str | None] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        seen.append(route_of(scope).endpoint)

    asyncio.run(app(scope, receive, send))

    assert seen == ["/users/{id:int}"] * 2


def test_a_middleware_that_answers_itself_leaves_the_metrics_view_alone() -> None:
    """HEAD of the metrics has no body, and other methods are the application's."""
    app = Starlette()
    app.add_middleware(PrometheusMiddleware, metrics_path="/metrics")
    client = AsgiClient(app)

    assert client("/metrics", method="HEAD").body == b""
    assert client("/metrics", method="POST").status == 404
    assert client("/metrics", prefix="/deployed").status == 200


def test_a_marked_class_is_left_out() -> None:
    """Starlette's endpoints may be classes."""

    @exclude
    class Hidden(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return PlainTextResponse("hidden")

    client = AsgiClient(with_middleware(Mount("/m", routes=[Route("/hidden", Hidden)])))

    assert client("/m/hidden").status == 200
    assert moved(lambda: client("/m/hidden"), REQUESTS) == 0
