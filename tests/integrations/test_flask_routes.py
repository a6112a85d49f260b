"""Which URL rule a Flask request counts under: the acceptance table, and what lies beside it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, abort, redirect
from flask.sessions import SecureCookieSessionInterface
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from gunicorn_prometheus_exporter.route import UNMATCHED, route_of
from gunicorn_prometheus_flask import PrometheusExporter
from tests.conformance.adapters import moved, our_series
from tests.integrations.wsgi_client import WsgiClient, wsgi_environ

REQUESTS = "gunicorn_requests_total"


class Hexadecimal(BaseConverter):
    """Matches hexadecimal digits; its regular expression must not leak."""

    regex = "[0-9a-f]+"


def shop() -> Flask:
    """Return an application with every kind of rule."""
    app = Flask("shop", static_folder=None)
    app.url_map.converters["hex"] = Hexadecimal
    PrometheusExporter(app)
    view = lambda **values: str(values)  # noqa: E731
    app.add_url_rule("/", "index", view)
    app.add_url_rule("/u/<int:uid>", "user", view, methods=["GET"])
    app.add_url_rule("/slash/", "slash", view)
    app.add_url_rule("/posted/", "posted", view, methods=["POST"])
    app.add_url_rule("/c/<hex:code>", "code", view)
    app.add_url_rule("/files/<path:name>", "files", view)
    app.add_url_rule("/long/<string(length=2):lang>/<any(a,b):kind>", "long", view)
    app.add_url_rule("/pages/", "pages", view, defaults={"page": 1})
    app.add_url_rule("/pages/<int:page>", "pages", view)
    app.add_url_rule("/old/<int:uid>", "old", redirect_to="/u/<uid>")
    app.add_url_rule("/away", "away", redirect_to="https://example.com/elsewhere/")
    app.add_url_rule("/ümlaut/<name>", "umlaut", view)
    app.add_url_rule("/gone/<int:n>", "gone", lambda n: abort(410))
    app.add_url_rule("/moved/<int:n>", "moved", lambda n: redirect("/"))
    app.register_blueprint(_api(), url_prefix="/api/<ver>")
    app.register_blueprint(_api(), url_prefix="/second", name="second")
    return app


def _api() -> Blueprint:
    api, items = Blueprint("api", __name__), Blueprint("items", __name__)
    items.add_url_rule("/<int:i>", "item", lambda **values: str(values))
    items.add_url_rule("", "items", lambda **values: str(values))
    api.register_blueprint(items, url_prefix="/items")
    return api


CASES = [
    ("GET", "/", 200, "/"),
    ("GET", "/u/7", 200, "/u/<int:uid>"),
    ("HEAD", "/u/7", 200, "/u/<int:uid>"),
    ("OPTIONS", "/u/7", 200, "/u/<int:uid>"),
    ("POST", "/u/7", 405, "/u/<int:uid>"),
    ("BREW", "/u/7", 405, "/u/<int:uid>"),
    ("GET", "/u/seven", 404, UNMATCHED),
    ("GET", "/slash", 308, "/slash/"),
    ("GET", "/slash?a=1", 308, "/slash/"),
    ("POST", "/posted", 308, "/posted/"),
    ("GET", "/posted", 404, UNMATCHED),
    ("GET", "/posted/", 405, "/posted/"),
    ("GET", "//u//7", 308, "/u/<int:uid>"),
    ("GET", "/c/beef", 200, "/c/<hex:code>"),
    ("GET", "/files/a/b/c.txt", 200, "/files/<path:name>"),
    ("GET", "/long/de/a", 200, "/long/<string(length=2):lang>/<any(a,b):kind>"),
    ("GET", "/pages/", 200, "/pages/"),
    ("GET", "/pages/2", 200, "/pages/<int:page>"),
    ("GET", "/pages/1", 308, "/pages/"),
    ("GET", "/old/7", 308, "/u/<int:uid>"),
    ("GET", "/away", 308, UNMATCHED),
    ("GET", "/%C3%BCmlaut/x", 200, "/ümlaut/<name>"),
    ("GET", "/gone/3", 410, "/gone/<int:n>"),
    ("GET", "/moved/3", 302, "/moved/<int:n>"),
    ("GET", "/api/v1/items/5", 200, "/api/<ver>/items/<int:i>"),
    ("GET", "/api/v1/items", 200, "/api/<ver>/items"),
    ("GET", "/second/items/5", 200, "/second/items/<int:i>"),
    ("GET", "/nope/1", 404, UNMATCHED),
    ("POST", "/nope/1", 404, UNMATCHED),
]


@pytest.mark.parametrize(("method", "path", "status", "endpoint"), CASES)
@pytest.mark.parametrize("prefix", ["", "/deployed"])
def test_a_request_counts_under_its_rule(
    method: str, path: str, status: int, endpoint: str, prefix: str
) -> None:
    """Whatever Flask answers, and wherever it is deployed."""
    client = WsgiClient(shop())
    labels = {"endpoint": endpoint, "status": str(status)}

    assert client(path, method=method, prefix=prefix).status == status
    act = lambda: client(path, method=method, prefix=prefix)  # noqa: E731
    assert moved(act, REQUESTS, **labels) == 1


@pytest.mark.parametrize("handler", [False, True])
def test_missing_pages_are_one_series(handler: bool) -> None:
    """With and without an error handler for 404."""
    app = shop()
    if handler:
        app.register_error_handler(404, lambda error: ("not here", 404))
    client = WsgiClient(app)
    client("/nope/0")
    before = our_series()

    act = lambda: [client(f"/nope/{n}") for n in range(1, 500)]  # noqa: E731
    assert moved(act, REQUESTS, endpoint=UNMATCHED, status="404") == 499
    assert our_series() == before


def test_a_before_request_function_that_answers_first_hides_nothing() -> None:
    """Flask has matched the URL by then."""
    app = shop()
    app.before_request(lambda: ("closed", 503))
    labels = {"endpoint": "/u/<int:uid>", "status": "503"}

    assert moved(lambda: WsgiClient(app)("/u/7"), REQUESTS, **labels) == 1
    assert moved(lambda: WsgiClient(app)("/u/7", method="POST"), REQUESTS, **labels) == 1


def test_static_files_are_one_endpoint() -> None:
    """A file that is missing as well: the static route matched."""
    app = Flask("static")
    PrometheusExporter(app)
    labels = {"endpoint": "/static/<path:filename>", "status": "404"}

    assert moved(lambda: WsgiClient(app)("/static/a/b.css"), REQUESTS, **labels) == 1


def test_hosts_and_subdomains_are_no_part_of_the_endpoint() -> None:
    """The rule is, whatever the host is called."""
    app = Flask("hosts", host_matching=True, static_host="static.example.com")
    PrometheusExporter(app)
    view = lambda **values: "ok"  # noqa: E731
    app.add_url_rule("/h/<int:n>", "tenant", view, host="<tenant>.example.com")
    client = WsgiClient(app)

    def act() -> None:
        for tenant in ("a", "b", "c"):
            assert client("/h/1", headers={"Host": f"{tenant}.example.com"}).status == 200

    assert moved(act, REQUESTS, endpoint="/h/<int:n>") == 3
    act = lambda: client("/h/1", headers={"Host": "elsewhere.org"})  # type: ignore[assignment, return-value] # noqa: E731
    assert moved(act, REQUESTS, endpoint=UNMATCHED, status="404") == 1


@pytest.mark.skipif("TRUSTED_HOSTS" not in Flask.default_config, reason="new in Flask 3.1")
def test_a_host_that_is_not_trusted_is_the_sentinel() -> None:
    """Flask cannot even make a URL adapter then."""
    app = shop()
    app.config["TRUSTED_HOSTS"] = ["shop.example.com"]
    client = WsgiClient(app)

    act = lambda: client("/u/7", headers={"Host": "evil.example.com"})  # noqa: E731
    assert moved(act, REQUESTS, endpoint=UNMATCHED, status="400") == 1


def dispatched(**options: Any) -> tuple[Flask, Flask]:
    """Return an application and the one that it dispatches /admin to, both registered."""
    app, admin = shop(), Flask("admin")
    for name, value in options.items():
        admin.config["GUNICORN_PROMETHEUS_" + name.upper()] = value
    PrometheusExporter(admin, prefix="/admin/")
    admin.add_url_rule("/users/<int:uid>", "user", lambda uid: str(uid), methods=["GET"])
    admin.add_url_rule("/list/", "list", lambda: "list")
    return app, admin


@pytest.mark.parametrize("outside", [True, False])
def test_a_dispatched_application_puts_its_prefix_first(outside: bool) -> None:
    """Whether the dispatcher stands around the registered application or within it."""
    app, admin = dispatched()
    if outside:
        client = WsgiClient(DispatcherMiddleware(app, {"/admin": admin}))
    else:
        outer = Flask("outer")
        outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/admin": admin})  # type: ignore[method-assign]
        PrometheusExporter(outer)
        client = WsgiClient(outer)
    labels = {"endpoint": "/admin/users/<int:uid>"}

    assert moved(lambda: client("/admin/users/7"), REQUESTS) == 1
    assert moved(lambda: client("/admin/users/7"), REQUESTS, **labels, status="200") == 1
    act = lambda: client("/admin/users/7", method="POST")  # noqa: E731
    assert moved(act, REQUESTS, **labels, status="405") == 1
    labels = {"endpoint": "/admin/list/", "status": "308"}
    assert moved(lambda: client("/admin/list"), REQUESTS, **labels) == 1


def test_prefix_and_include_prefix_do_not_repeat_each_other() -> None:
    """SCRIPT_NAME holds both the deployment's prefix and the dispatcher's."""
    app, admin = dispatched(include_prefix=True)
    client = WsgiClient(DispatcherMiddleware(app, {"/admin": admin}))

    act = lambda: client("/admin/users/7", prefix="/deployed")  # noqa: E731
    assert moved(act, REQUESTS, endpoint="/deployed/admin/users/<int:uid>") == 1


def test_a_dispatched_path_can_be_excluded_with_or_without_the_prefix() -> None:
    """`exclude` takes what a reader of the metrics sees as well as what the application sees."""
    for pattern in ("/admin/users/*", "/users/*", "/admin/users/<int:uid>"):
        app, admin = dispatched(exclude=[pattern])
        client = WsgiClient(DispatcherMiddleware(app, {"/admin": admin}))
        assert moved(lambda client=client: client("/admin/users/7"), REQUESTS) == 0


def test_middleware_around_and_within_changes_nothing() -> None:
    """`app.wsgi_app = ProxyFix(app.wsgi_app)` before and after the registration."""
    app = Flask("proxied")
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    PrometheusExporter(app)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    app.add_url_rule("/p/<int:n>", "p", lambda n: str(n))
    client = WsgiClient(app)

    act = lambda: client("/p/1", headers={"X-Forwarded-Prefix": "/behind"})  # noqa: E731
    assert moved(act, REQUESTS, endpoint="/p/<int:n>", status="200") == 1


def test_a_session_that_cannot_be_opened_is_named_all_the_same() -> None:
    """Flask fails before it matches the URL: the route is found on demand."""
    app = shop()

    class NoSessions(SecureCookieSessionInterface):
        def open_session(self, app: Flask, request: object) -> None:
            raise ConnectionError("no session store")

    app.session_interface = NoSessions()
    labels = {"endpoint": "/u/<int:uid>", "error_type": "ConnectionError"}

    assert (
        moved(lambda: WsgiClient(app)("/u/7"), "gunicorn_request_exceptions_total", **labels) == 1
    )


def test_an_async_view_is_named() -> None:
    """Flask runs it to its end in the worker's thread."""
    app = shop()

    @app.route("/async/<int:n>")
    async def answer(n: int) -> str:
        return str(n)

    assert moved(lambda: WsgiClient(app)("/async/3"), REQUESTS, endpoint="/async/<int:n>") == 1


def test_the_label_stands_in_the_environ_when_the_response_starts() -> None:
    """A worker reads it after Flask has let go of the request."""
    environ = wsgi_environ("/u/7")
    seen: list[str | None] = []

    def start_response(*arguments: Any) -> Any:
        seen.append(route_of(environ).endpoint)

    shop()(environ, start_response).close()

    assert seen == ["/u/<int:uid>"]
