"""The middleware in chains of all kinds, and what it tells of exceptions."""

from __future__ import annotations

import asyncio

import django
import pytest
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.test import Client, override_settings

from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.testing import metric_delta
from tests.conformance.adapters import moved
from tests.integrations import django_site
from tests.integrations.asgi_client import http_scope
from tests.integrations.wsgi_client import wsgi_environ

django_site.start()

SITE = "tests.integrations.django_site.middleware"
PROMETHEUS = "gunicorn_prometheus_django.middleware.PrometheusMiddleware"
EXCEPTIONS = "gunicorn_prometheus_django.middleware.ExceptionMiddleware"


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize("position", ["before", "after"])
def test_a_synchronous_middleware_may_stand_beside_it(protocol: str, position: str) -> None:
    """Django moves parts of the chain to threads then; the request is named all the same."""
    chain = [f"{SITE}.sync_only", *settings.MIDDLEWARE]
    if position == "after":
        chain = [*settings.MIDDLEWARE, f"{SITE}.sync_only"]
    with override_settings(MIDDLEWARE=chain):
        call = django_site.calls(protocol)

        assert moved(lambda: call("/async/3"), "gunicorn_requests_total") == 1
        assert call.route.endpoint == "/async/<int:pk>"


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
def test_installed_twice_it_counts_once(protocol: str) -> None:
    """The inner one sees that the request is measured already."""
    with override_settings(MIDDLEWARE=[PROMETHEUS, *settings.MIDDLEWARE]):
        call = django_site.calls(protocol)

        labels = {"endpoint": "/users/<int:pk>"}
        assert moved(lambda: call("/users/7"), "gunicorn_requests_total", **labels) == 1
        assert moved(lambda: call("/users/7"), "gunicorn_requests_total") == 1
        assert moved(lambda: call("/hidden"), "gunicorn_requests_total") == 0


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/boom", ZeroDivisionError),
        ("/boom-async", ZeroDivisionError),
        ("/drf/items/0/", ZeroDivisionError),
    ],
)
def test_an_exception_that_django_answers_is_told(
    protocol: str, path: str, error: type[Exception]
) -> None:
    """The 500 is Django's; the exception is told through the route."""
    call = django_site.calls(protocol)

    assert call(path).status == 500
    assert isinstance(call.route.exception, error)


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize(
    ("path", "status"), [("/absent", 404), ("/forbidden", 403), ("/suspicious", 400)]
)
def test_an_exception_that_means_a_4xx_is_an_answer(protocol: str, path: str, status: int) -> None:
    """Http404 and its like are not failures."""
    call = django_site.calls(protocol)

    assert call(path).status == status
    assert call.route.exception is None


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
def test_an_exception_that_a_middleware_answers_is_told(protocol: str) -> None:
    """Django signals nothing then; ExceptionMiddleware, listed last, sees it first."""
    chain = [*settings.MIDDLEWARE, f"{SITE}.AnswerExceptions", EXCEPTIONS]
    with override_settings(MIDDLEWARE=chain):
        call = django_site.calls(protocol)

        error = {"endpoint": "/boom", "error_type": "ZeroDivisionError"}
        assert moved(lambda: call("/boom"), "gunicorn_request_exceptions_total", **error) == 1
        assert call("/boom").status == 503
        assert moved(lambda: call("/absent"), "gunicorn_request_exceptions_total") == 0


def test_an_exception_that_escapes_counts_once() -> None:
    """DEBUG_PROPAGATE_EXCEPTIONS lets it through to the server."""
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True):
        call = django_site.calls("wsgi")

        error = {"endpoint": "/boom", "error_type": "ZeroDivisionError"}
        assert moved(lambda: call("/boom"), "gunicorn_request_exceptions_total", **error) == 1
        assert moved(lambda: call("/boom"), "gunicorn_requests_total", status="500") == 1


def test_overridden_settings_hold_at_once() -> None:
    """The running handler reads them with each request."""
    call = django_site.calls("wsgi")

    with override_settings(GUNICORN_PROMETHEUS={"EXCLUDE": ["/plain"]}):
        assert moved(lambda: call("/plain"), "gunicorn_requests_total") == 0
    assert moved(lambda: call("/plain"), "gunicorn_requests_total") == 1


def test_a_wrong_setting_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the key as Django spells it, before any request."""
    monkeypatch.setattr(settings, "GUNICORN_PROMETHEUS", {"BUCKETS": "fast"}, raising=False)

    with pytest.raises(SettingsError, match="GUNICORN_PROMETHEUS: BUCKETS='fast'"):
        django_site.calls("wsgi")


def test_the_test_client_works() -> None:
    """Tests of a project see its metrics, without gunicorn."""
    with metric_delta("gunicorn_requests_total", endpoint="/api/v1/<int:pk>/") as delta:
        Client().get("/api/v1/7/")

    assert delta.value == 1


def test_a_stream_that_nobody_reads_ends_when_it_is_closed() -> None:
    """HEAD asks for a stream and drops it: the request is counted, nothing stays in progress."""
    call = django_site.calls("wsgi")

    labels = {"endpoint": "/stream", "method": "HEAD", "status": "200"}
    assert moved(lambda: call("/stream", method="HEAD"), "gunicorn_requests_total", **labels) == 1
    act = lambda: call("/stream", method="HEAD")  # noqa: E731
    assert moved(act, "gunicorn_worker_requests_in_progress") == 0


def test_a_client_that_leaves_is_counted_as_such() -> None:
    """Status 499, once, and nothing stays in progress."""
    app = get_wsgi_application()

    def leave() -> None:
        body = app(wsgi_environ("/stream"), lambda *arguments: None)
        next(iter(body))
        body.close()

    labels = {"endpoint": "/stream", "status": "499"}
    assert moved(leave, "gunicorn_requests_total", **labels) == 1
    assert moved(leave, "gunicorn_worker_requests_in_progress") == 0


@pytest.mark.skipif(django.VERSION < (5,), reason="Django notices from 5.0 on that a client left")
def test_an_asynchronous_client_that_leaves_is_counted_as_such() -> None:
    """Django cancels the view; what the middleware sees of it is a CancelledError."""
    call = django_site.calls("asgi")

    async def leave() -> None:
        async def receive() -> dict[str, str]:
            return messages.pop()

        async def send(message: object) -> None:
            raise AssertionError("nobody is there to answer")

        messages = [
            {"type": "http.disconnect"},
            {"type": "http.request", "body": b"", "more_body": False},
        ]
        await call.app(http_scope("/sleep"), receive, send)

    def act() -> None:
        asyncio.run(leave())

    labels = {"endpoint": "/sleep", "status": "499"}
    assert moved(act, "gunicorn_requests_total", **labels) == 1
    assert moved(act, "gunicorn_worker_requests_in_progress") == 0


def test_a_label_whose_text_fails_is_empty() -> None:
    """What a callable returns may fail later than the callable itself."""

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with override_settings(GUNICORN_PROMETHEUS={"LABELS": {"odd": lambda request: Unprintable()}}):
        call = django_site.calls("wsgi")

        assert call("/plain").status == 200
        assert call.route.labels == (("odd", ""),)


def test_labels_of_what_is_left_out_are_not_asked_for() -> None:
    """A health check costs nothing more."""

    def fail(request: object) -> str:
        raise AssertionError("asked")

    values = {"LABELS": {"odd": fail}, "EXCLUDE": ["/healthz"]}
    with override_settings(GUNICORN_PROMETHEUS=values):
        call = django_site.calls("wsgi")

        assert call("/healthz").status == 200
        assert call.route.labels == ()
