"""Which route an ASGI request counts under: the acceptance table, and what lies beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from gunicorn_prometheus_asgi import PrometheusMiddleware, WsgiToAsgi
from gunicorn_prometheus_exporter.route import UNMATCHED, route_of
from tests.conformance.adapters import moved, our_series
from tests.integrations.asgi_client import AsgiClient

REQUESTS = "gunicorn_requests_total"


async def view(request: Request) -> Response:
    return PlainTextResponse("ok")


async def bare(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("bare")(scope, receive, send)


class Through:
    """A middleware that passes everything on, with the scope copied, as some do."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(dict(scope), receive, send)


def starlette() -> Starlette:
    """Return an application with every kind of route."""
    leaf = [
        Route("/", view),
        Route("/x/{a}", view),
        Route("/slash/", view),
        Mount("/deep/{d}", routes=[Route("/y/{b:int}", view, methods=["POST"])]),
    ]
    routes = [
        Route("/", view),
        Route("/u/{id:int}", view),
        Route("/u/{id:int}", view, methods=["DELETE"]),
        Route("/slash/", view),
        Route("/noslash", view),
        Route("/files/{path:path}", view),
        Route("/any", bare_endpoint()),
        WebSocketRoute("/ws", view),
        Mount("/tenant/{tid}", Starlette(routes=leaf)),
        Mount("/router", Router(leaf)),
        Mount("/wrapped", Through(Starlette(routes=leaf))),
        Mount("/with", routes=leaf, middleware=[Middleware(Through)]),
        Mount("/opaque/{o}", bare),
        Host("{sub}.hosted.example", Router([Route("/h/{n}", view)])),
        Host("opaque.example", bare),
        Mount("/nested", routes=[Mount("", routes=[Route("/unnamed/{n}", view)])]),
    ]
    return Starlette(routes=routes)


def bare_endpoint() -> Any:
    """Return an endpoint that is an ASGI application: it has no methods."""

    class Bare:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await bare(scope, receive, send)

    return Bare()


STARLETTE = [
    ("GET", "/", 200, "/"),
    ("GET", "/u/5", 200, "/u/{id:int}"),
    ("HEAD", "/u/5", 200, "/u/{id:int}"),
    ("DELETE", "/u/5", 200, "/u/{id:int}"),
    ("POST", "/u/5", 405, "/u/{id:int}"),
    ("GET", "/u/five", 404, UNMATCHED),
    ("GET", "/slash", 307, "/slash/"),
    ("GET", "/noslash/", 307, "/noslash"),
    ("POST", "/noslash/", 307, "/noslash"),
    ("GET", "/files/a/b/c", 200, "/files/{path:path}"),
    ("BREW", "/any", 200, "/any"),
    ("GET", "/tenant/42/x/1", 200, "/tenant/{tid}/x/{a}"),
    ("GET", "/tenant/42/", 200, "/tenant/{tid}/"),
    ("GET", "/tenant/42", 307, "/tenant/{tid}/"),
    ("GET", "/tenant/42/slash", 307, "/tenant/{tid}/slash/"),
    ("POST", "/tenant/42/deep/7/y/1", 200, "/tenant/{tid}/deep/{d}/y/{b:int}"),
    ("GET", "/tenant/42/deep/7/y/1", 405, "/tenant/{tid}/deep/{d}/y/{b:int}"),
    ("GET", "/tenant/42/nope", 404, UNMATCHED),
    ("GET", "/router/x/1", 200, "/router/x/{a}"),
    ("GET", "/wrapped/x/1", 200, "/wrapped/x/{a}"),
    ("GET", "/wrapped/nope", 404, UNMATCHED),
    ("GET", "/with/x/1", 200, "/with/x/{a}"),
    ("GET", "/opaque/9/a/b/c", 200, "/opaque/{o}/{path:path}"),
    ("GET", "/nested/unnamed/3", 200, "/nested/unnamed/{n}"),
    ("GET", "/ws", 404, UNMATCHED),
    ("GET", "/nope/1", 404, UNMATCHED),
]


def fastapi() -> FastAPI:
    """Return an application whose routers are included in several places."""
    leaf = APIRouter()
    leaf.add_api_route("/i/{i}", view, methods=["GET"])
    leaf.add_api_route("", view, methods=["GET"])
    leaf.add_route("/plain/{p}", view)
    branch = APIRouter(prefix="/v2/{ver}")
    branch.include_router(leaf, prefix="/leaf")
    app = FastAPI()
    app.add_api_route("/u/{i}", view, methods=["GET"])
    app.add_api_route("/slash/", view, methods=["GET"])
    app.include_router(leaf, prefix="/one")
    app.include_router(leaf, prefix="/two/{t}")
    app.include_router(branch)
    sub = FastAPI()
    sub.include_router(leaf, prefix="/in")
    app.mount("/sub/{s}", sub)
    mounting = APIRouter(prefix="/mounting")
    mounting.mount("/m", Starlette(routes=[Route("/x/{a}", view)]))
    app.include_router(mounting)
    return app


FASTAPI = [
    ("GET", "/u/5", 200, "/u/{i}"),
    ("POST", "/u/5", 405, "/u/{i}"),
    ("GET", "/slash", 307, "/slash/"),
    ("GET", "/one/i/3", 200, "/one/i/{i}"),
    ("GET", "/one", 200, "/one"),
    ("GET", "/one/", 307, "/one"),
    ("GET", "/two/9/i/3", 200, "/two/{t}/i/{i}"),
    ("GET", "/two/9/plain/3", 200, "/two/{t}/plain/{p}"),
    ("GET", "/v2/9/leaf/i/3", 200, "/v2/{ver}/leaf/i/{i}"),
    ("POST", "/v2/9/leaf/i/3", 405, "/v2/{ver}/leaf/i/{i}"),
    ("GET", "/v2/9/leaf/i/3/", 307, "/v2/{ver}/leaf/i/{i}"),
    ("GET", "/sub/1/in/i/3", 200, "/sub/{s}/in/i/{i}"),
    ("GET", "/sub/1/in/nope", 404, UNMATCHED),
    ("GET", "/docs", 200, "/docs"),
    ("GET", "/openapi.json", 200, "/openapi.json"),
    ("GET", "/nope", 404, UNMATCHED),
]


def inside(app: Any) -> Any:
    """Add the middleware to `app`."""
    app.add_middleware(PrometheusMiddleware)
    return app


WAYS = {
    "inside": inside,
    "outside": PrometheusMiddleware,
    "behind another": lambda app: PrometheusMiddleware(Through(app)),
}


@pytest.mark.parametrize("prefix", ["", "/deployed"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("make", "method", "path", "status", "endpoint"),
    [(starlette, *case) for case in STARLETTE] + [(fastapi, *case) for case in FASTAPI],
)
def test_a_request_counts_under_its_route(
    make: Any, method: str, path: str, status: int, endpoint: str, way: str, prefix: str
) -> None:
    """Whatever the application answers, and wherever it and the middleware stand."""
    client = AsgiClient(WAYS[way](make()))
    labels = {"endpoint": endpoint, "status": str(status)}

    assert client(path, method=method, prefix=prefix).status == status
    act = lambda: client(path, method=method, prefix=prefix)  # noqa: E731
    assert moved(act, REQUESTS, **labels) == 1


@pytest.mark.parametrize("way", ["inside", "outside"])
def test_hosts_are_no_part_of_the_endpoint(way: str) -> None:
    """The routes below a Host are; what cannot be looked into is one endpoint."""
    client = AsgiClient(WAYS[way](starlette()))

    def act() -> None:
        for host in ("a", "b", "c"):
            assert client("/h/1", headers={"Host": f"{host}.hosted.example"}).status == 200

    assert moved(act, REQUESTS, endpoint="/h/{n}") == 3
    hosted = lambda: client("/some/thing", headers={"Host": "opaque.example"})  # noqa: E731
    assert moved(hosted, REQUESTS, endpoint="/{path:path}") == 1


@pytest.mark.parametrize("way", ["inside", "outside"])
def test_root_path_of_fastapi_is_a_deployment_prefix(way: str) -> None:
    """`FastAPI(root_path=...)` says what a proxy strips, or does not strip."""
    client = AsgiClient(WAYS[way](behind()))

    for path in ("/u/5", "/behind/u/5"):
        assert moved(lambda path=path: client(path), REQUESTS, endpoint="/u/{i}") == 1

    client = AsgiClient(PrometheusMiddleware(behind(), include_prefix=True))
    assert moved(lambda: client("/u/5"), REQUESTS, endpoint="/behind/u/{i}") == 1


def behind() -> FastAPI:
    """Return an application with a root path of its own (the argument is deprecated by now)."""
    app = FastAPI()
    app.root_path = "/behind"
    app.add_api_route("/u/{i}", view)
    return app


def test_a_middleware_that_answers_itself_hides_nothing() -> None:
    """The route is found on demand: the router never saw the request."""
    app = fastapi()

    class Forbidding:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await PlainTextResponse("no", 403)(scope, receive, send)

    app.add_middleware(Forbidding)
    app.add_middleware(PrometheusMiddleware)
    client = AsgiClient(app)

    assert moved(lambda: client("/u/5"), REQUESTS, endpoint="/u/{i}", status="403") == 1
    assert moved(lambda: client("/nope"), REQUESTS, endpoint=UNMATCHED, status="403") == 1


def test_a_cors_preflight_counts_under_its_route() -> None:
    """CORSMiddleware answers OPTIONS before routing."""
    app = fastapi()
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    app.add_middleware(PrometheusMiddleware)
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
    client = AsgiClient(app)

    act = lambda: client("/u/5", method="OPTIONS", headers=headers)  # noqa: E731
    assert act().status == 200
    assert moved(act, REQUESTS, method="OPTIONS", endpoint="/u/{i}") == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda app: Mount("/t/{tid}", app),
        lambda app: Mount("/t/{tid}", routes=[Mount("", app)]),
    ],
)
def test_a_mounted_application_alone_is_named_from_the_top(make: Any) -> None:
    """With the middleware only in the mounted one, no concrete mount path becomes a label."""
    mounted = inside(Starlette(routes=[Route("/x/{a}", view)]))
    client = AsgiClient(Starlette(routes=[make(mounted)]))

    act = lambda: client("/t/42/x/1", prefix="/deployed")  # noqa: E731
    assert moved(act, REQUESTS, endpoint="/t/{tid}/x/{a}") == 1


def test_a_mounted_wsgi_application_tells_its_own_route() -> None:
    """Where an adapter of ours within an opaque mount knows the template, it is not lost."""

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] != "/unlabelled":
            known = environ["PATH_INFO"].startswith("/u/")
            route_of(environ).endpoint = "/u/<int:uid>" if known else UNMATCHED
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"wsgi"]

    bridge = WsgiToAsgi(wsgi)
    client = AsgiClient(inside(Starlette(routes=[Mount("/legacy", bridge)])))

    for path, endpoint in {
        "/legacy/u/7": "/legacy/u/<int:uid>",
        "/legacy/nope": UNMATCHED,
        "/legacy/unlabelled": "/legacy/{path:path}",
    }.items():
        assert client(path).body == b"wsgi"
        assert moved(lambda path=path: client(path), REQUESTS, endpoint=endpoint) == 1


def test_static_files_are_one_endpoint(tmp_path: Path) -> None:
    """Those that are missing as well."""
    (tmp_path / "a.css").write_text("a")
    static = Mount("/static", StaticFiles(directory=tmp_path))
    client = AsgiClient(inside(Starlette(routes=[static])))
    labels = {"endpoint": "/static/{path:path}"}

    assert moved(lambda: client("/static/a.css"), REQUESTS, status="200", **labels) == 1
    assert moved(lambda: client("/static/b.css"), REQUESTS, status="404", **labels) == 1


@pytest.mark.skipif(not hasattr(FastAPI, "frontend"), reason="this FastAPI has no frontends")
def test_a_frontend_is_one_endpoint(tmp_path: Path) -> None:
    """FastAPI serves it where no route matches; the most specific one answers."""
    (tmp_path / "index.html").write_text("hello")
    app = FastAPI()
    app.add_api_route("/u/{i}", view)
    app.frontend("/", directory=str(tmp_path))
    app.frontend("/shop", directory=str(tmp_path))
    client = AsgiClient(inside(app))

    for path, endpoint in {
        "/u/1": "/u/{i}",
        "/some/page": "/{path:path}",
        "/shop/some/page": "/shop/{path:path}",
    }.items():
        assert moved(lambda path=path: client(path), REQUESTS, endpoint=endpoint) == 1


def test_routes_that_are_added_late_are_found() -> None:
    """Nothing of the routes is remembered."""
    app = inside(FastAPI())
    client = AsgiClient(app)
    assert moved(lambda: client("/late/1"), REQUESTS, endpoint=UNMATCHED) == 1

    app.add_api_route("/late/{n}", view)

    assert moved(lambda: client("/late/1"), REQUESTS, endpoint="/late/{n}") == 1


def test_random_hosts_below_a_host_route_leave_a_constant_number_of_series() -> None:
    """Each has the template of the route."""
    client = AsgiClient(inside(starlette()))
    client("/h/0", headers={"Host": "first.hosted.example"})
    before = our_series()

    for n in range(500):
        client(f"/h/{n}", headers={"Host": f"n{n}.hosted.example"})

    assert our_series() == before
