"""The Flask extension: the suite of all adapters, and how it fits into Flask."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, stream_with_context
from flask.views import MethodView

from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.route import route_of
from gunicorn_prometheus_flask import PrometheusExporter, exclude, routing
from tests.conformance.adapters import (
    CHUNKS,
    AdapterConformance,
    BrokenError,
    Client,
    SwallowedError,
    label_values,
    moved,
)
from tests.integrations.wsgi_client import WsgiClient, wsgi_environ

REQUESTS = "gunicorn_requests_total"
EXCEPTIONS = "gunicorn_request_exceptions_total"


def little_application(**settings: Any) -> Flask:
    """Return the application of the conformance suite."""
    app = Flask(__name__)
    for name, value in settings.items():
        app.config["GUNICORN_PROMETHEUS_" + name.upper()] = value
    exporter = PrometheusExporter(app)
    for path in ("/plain", "/healthz", "/labelled", "/bucketed", "/grouped", "/prefixed"):
        app.add_url_rule(path, path, lambda: "plain", methods=["GET"])
    app.add_url_rule("/users/<int:uid>", "user", lambda uid: f"user {uid}", methods=["GET"])
    app.add_url_rule("/absent", "absent", lambda: ("no such thing", 404))
    app.add_url_rule("/boom", "boom", lambda: str(1 // 0))
    app.add_url_rule("/hidden", "hidden", exporter.exclude(lambda: "hidden"))
    app.add_url_rule("/stream", "stream", lambda: Response(iter(CHUNKS)))
    app.add_url_rule("/broken-stream", "broken", lambda: Response(_broken()))

    @app.route("/swallowed")
    def swallowed() -> str:
        raise SwallowedError

    @app.errorhandler(SwallowedError)
    def sorry(error: Exception) -> tuple[str, int]:
        return "sorry", 500

    return app


def _broken() -> Iterator[bytes]:
    yield CHUNKS[0]
    raise BrokenError


class TestFlaskConformance(AdapterConformance):
    """Flask behaves as every adapter does."""

    user_template = "/users/<int:uid>"

    def client(self, **settings: Any) -> Client:
        return WsgiClient(little_application(**settings))

    def break_resolver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(app: object, request: object) -> None:
            raise RuntimeError("no route today")

        monkeypatch.setattr(routing, "rule_of", broken)


def test_an_application_cannot_be_registered_twice() -> None:
    """A second registration would label by other settings; it is refused with a clear error."""
    app = Flask("shop")
    exporter = PrometheusExporter(app)

    with pytest.raises(SettingsError, match=r"shop.*already"):
        exporter.init_app(app)
    with pytest.raises(SettingsError, match="already"):
        PrometheusExporter(app)


def test_each_application_of_a_factory_counts_its_own_requests_once() -> None:
    """create_app() called twice with one exporter gives two applications that work."""
    exporter = PrometheusExporter()

    def create_app() -> Flask:
        app = Flask("factory")
        exporter.init_app(app)
        app.add_url_rule("/made/<name>", "made", lambda name: name)
        return app

    first, second = create_app(), create_app()

    assert moved(lambda: first.test_client().get("/made/a"), REQUESTS) == 1
    assert (
        moved(lambda: second.test_client().get("/made/b"), REQUESTS, endpoint="/made/<name>") == 1
    )


def test_applications_keep_their_own_settings() -> None:
    """What one application excludes, another in the same process does not."""
    quiet, loud = little_application(exclude=["/plain"]), little_application()

    assert moved(lambda: WsgiClient(quiet)("/plain"), REQUESTS) == 0
    assert moved(lambda: WsgiClient(loud)("/plain"), REQUESTS) == 1


def test_an_application_is_not_kept_alive() -> None:
    """The exporter and Flask's signals hold no application."""
    exporter = PrometheusExporter()
    app = Flask("short-lived")
    exporter.init_app(app)
    app.add_url_rule("/", "index", lambda: "")
    app.test_client().get("/")
    gone = weakref.ref(app)

    del app
    gc.collect()

    assert gone() is None


def test_a_prefix_needs_an_application() -> None:
    """Without one, nobody would ever see it."""
    with pytest.raises(SettingsError, match="init_app"):
        PrometheusExporter(prefix="/admin")


def test_a_wrong_setting_is_named_with_its_place() -> None:
    """The error says where to look."""
    app = Flask("wrong")
    app.config["GUNICORN_PROMETHEUS_BUCKETS"] = [2, 1]

    with pytest.raises(SettingsError, match=r"app\.config, GUNICORN_PROMETHEUS_.*buckets"):
        PrometheusExporter(app)


def test_the_marker_works_on_view_classes_and_decorated_views() -> None:
    """A class is marked as a function is, and the order of decorators does not matter."""
    app = Flask("marked")
    exporter = PrometheusExporter(app)

    @exporter.exclude
    class Listing(MethodView):
        def get(self) -> str:
            return "listing"

    app.add_url_rule("/listing", view_func=Listing.as_view("listing"))

    @exclude
    @app.route("/outermost")
    def outermost() -> str:
        return "outermost"

    for path in ("/listing", "/outermost"):
        assert app.test_client().get(path).status_code == 200
        assert moved(lambda path=path: app.test_client().get(path), REQUESTS) == 0


def test_a_wrong_method_on_a_marked_view_is_left_out_too() -> None:
    """The marker belongs to the URL, not to the method."""
    app = little_application()

    assert moved(lambda: WsgiClient(app)("/hidden", method="POST"), REQUESTS) == 0


def test_exceptions_that_testing_lets_through_are_counted() -> None:
    """With TESTING there is no response; the test client raises, and the metrics are right."""
    app = little_application()
    app.testing = True

    def act() -> None:
        with pytest.raises(ZeroDivisionError):
            app.test_client().get("/boom")

    assert moved(act, REQUESTS, endpoint="/boom", status="500") == 1
    assert moved(act, EXCEPTIONS, endpoint="/boom", error_type="ZeroDivisionError") == 1


def test_an_exception_that_no_handler_of_flask_catches_keeps_its_template() -> None:
    """SystemExit and the like (gevent's Timeout) pass Flask by; teardown still names the route."""
    app = little_application()

    @app.route("/exit/<int:code>")
    def leave(code: int) -> str:
        raise SystemExit(code)

    def act() -> None:
        with pytest.raises(SystemExit):
            app(wsgi_environ("/exit/3"), lambda *arguments: lambda chunk: None)

    assert moved(act, REQUESTS, endpoint="/exit/<int:code>", status="500") == 1


def test_a_handler_for_all_exceptions_does_not_hide_them() -> None:
    """`errorhandler(Exception)` sends no signal of Flask's; the exception counts all the same."""
    app = Flask("all-handled")
    PrometheusExporter(app)
    app.add_url_rule("/boom/<int:n>", "boom", lambda n: str(n // 0))
    app.register_error_handler(Exception, lambda error: ("handled", 200))
    labels = {"endpoint": "/boom/<int:n>", "error_type": "ZeroDivisionError"}

    assert app.test_client().get("/boom/1").status_code == 200
    assert moved(lambda: app.test_client().get("/boom/1"), EXCEPTIONS, **labels) == 1
    assert moved(lambda: app.test_client().get("/nope"), EXCEPTIONS) == 0


def test_the_exception_of_an_error_handler_is_the_one_that_counts() -> None:
    """One request, one exception: the one that reached the client's 500."""
    app = Flask("handler-fails")
    PrometheusExporter(app)
    app.add_url_rule("/boom", "boom", lambda: str(1 // 0))

    @app.errorhandler(ZeroDivisionError)
    def fails(error: Exception) -> str:
        raise LookupError("in the handler")

    act = lambda: app.test_client().get("/boom")  # noqa: E731
    assert moved(act, EXCEPTIONS) == 1
    assert moved(act, EXCEPTIONS, error_type="LookupError") == 1


def test_a_failing_after_request_function_is_counted_under_the_template() -> None:
    """Flask sends no request_finished then."""
    app = Flask("after-fails")
    PrometheusExporter(app)
    app.add_url_rule("/after/<name>", "after", lambda name: name)

    @app.after_request
    def fails(response: Response) -> Response:
        raise LookupError("in after_request")

    labels = {"endpoint": "/after/<name>", "error_type": "LookupError"}
    assert moved(lambda: app.test_client().get("/after/x"), EXCEPTIONS, **labels) == 1


def test_labels_may_ask_for_what_the_view_has_set() -> None:
    """Labels are asked for when the response is made, while `g` and the request live."""
    app = Flask("labels")
    app.config["GUNICORN_PROMETHEUS_LABELS"] = {"plan": lambda request: request.view_args["plan"]}
    PrometheusExporter(app)
    app.add_url_rule("/plans/<plan>", "plan", lambda plan: plan)

    app.test_client().get("/plans/gold")

    assert "gold" in label_values(REQUESTS, "plan", endpoint="/plans/<plan>")


def test_a_stream_with_context_is_named() -> None:
    """Its context lives until the stream ends; the route is named before."""
    app = Flask("context-stream")
    PrometheusExporter(app)

    @app.route("/context/<name>")
    def stream(name: str) -> Response:
        return Response(stream_with_context(iter(CHUNKS)))

    act = lambda: WsgiClient(app)("/context/a")  # noqa: E731
    assert moved(act, REQUESTS, endpoint="/context/<name>", status="200") == 1


def test_a_preserved_context_counts_once() -> None:
    """`with client:` keeps the context and tears it down twice."""
    app = little_application()

    def act() -> None:
        with app.test_client() as client:
            client.get("/plain")

    assert moved(act, REQUESTS) == 1
    assert moved(act, REQUESTS, endpoint="/plain") == 1


def test_a_response_that_is_held_and_never_read_counts() -> None:
    """As in most tests of applications: `response.status_code` is all they look at."""
    app = little_application()
    held: list[Any] = []

    assert moved(lambda: held.append(app.test_client().get("/plain")), REQUESTS) == 1


def test_a_client_that_leaves_is_a_499() -> None:
    """A server closes a response that it cannot send on; that is no failure of the application."""
    app = little_application()

    def act() -> None:
        body = app(wsgi_environ("/stream"), lambda *arguments: lambda chunk: None)
        assert next(iter(body)) == CHUNKS[0]
        body.close()

    assert moved(act, REQUESTS, endpoint="/stream", status="499") == 1
    assert moved(act, "gunicorn_worker_requests_in_progress") == 0
    assert moved(act, EXCEPTIONS) == 0


def test_request_and_response_sizes_are_bodies() -> None:
    """Sizes are those of the bodies, in bytes."""
    app = Flask("sizes")
    PrometheusExporter(app)
    app.add_url_rule("/sizes", "sizes", lambda: "x" * 300, methods=["POST"])
    client = app.test_client()

    act = lambda: client.post("/sizes", data=b"y" * 200)  # noqa: E731
    assert moved(act, "gunicorn_worker_request_size_bytes_sum") == 200
    assert moved(act, "gunicorn_worker_response_size_bytes_sum") == 300


def test_a_request_that_is_measured_already_is_only_named() -> None:
    """Another adapter around the application, such as a bridge's, counts it."""
    app = little_application()
    environ = wsgi_environ("/users/7")
    route_of(environ).measured = True

    def act() -> None:
        app(environ, lambda *arguments: lambda chunk: None).close()

    assert moved(act, REQUESTS) == 0
    assert route_of(environ).endpoint == "/users/<int:uid>"


def test_a_view_that_calls_another_application_is_named_by_its_own_route() -> None:
    """`Response.from_app()` passes the environ on; the request counts once."""
    app, inner = little_application(), little_application()

    @app.route("/proxy/<name>")
    def proxy(name: str) -> Response:
        return Response.from_app(inner, wsgi_environ("/plain"))

    act = lambda: WsgiClient(app)("/proxy/a")  # noqa: E731
    assert moved(act, REQUESTS, endpoint="/proxy/<name>") == 1
