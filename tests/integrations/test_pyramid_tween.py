"""The tween: where it stands, what it counts, and what it says when it is left out."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pyramid.config import Configurator
from pyramid.interfaces import ITweens
from pyramid.response import Response
from webtest import TestApp as WebTestApp

from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.testing import metric_delta
from tests.conformance.adapters import moved
from tests.integrations import pyramid_site
from tests.integrations.calls import Calls
from tests.integrations.wsgi_client import wsgi_environ

TWEEN = "gunicorn_prometheus_pyramid.tween_factory"


def small_app(**settings: Any) -> Any:
    """Return an application with one route."""
    config = Configurator(settings=settings)
    config.include("gunicorn_prometheus_pyramid")
    config.add_route("one", "/one/{id}")
    config.add_view(lambda request: Response("one"), route_name="one")
    return config.make_wsgi_app()


def test_it_is_the_outermost_tween() -> None:
    """It sees what the application's own tweens answer, though they were added later."""
    config = pyramid_site.configure()
    config.commit()

    implicit = [name for name, _ in config.registry.getUtility(ITweens).implicit()]
    assert implicit[0] == TWEEN


def test_a_tweens_setting_without_it_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Pyramid would drop it in silence."""
    with caplog.at_level(logging.WARNING):
        small_app(**{"pyramid.tweens": "pyramid.tweens.excview_tween_factory"})

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert TWEEN in record.getMessage()


def test_a_tweens_setting_with_it_works(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said, and requests are counted."""
    with caplog.at_level(logging.WARNING):
        app = small_app(**{"pyramid.tweens": f"{TWEEN}\npyramid.tweens.excview_tween_factory"})
        call = Calls(app, "wsgi")

        assert moved(lambda: call("/one/3"), "gunicorn_requests_total", endpoint="/one/{id}") == 1
    assert caplog.records == []


@pytest.mark.parametrize("tweens", ["yes", "no"])
def test_subrequests_are_part_of_their_request(tweens: str) -> None:
    """One request came in, and one is counted, under its own template and without their errors."""
    call = pyramid_site.calls()
    path, endpoint = f"/subrequests/{tweens}", "/subrequests/{tweens}"

    assert call(path).status == 200
    assert moved(lambda: call(path), "gunicorn_requests_total", endpoint=endpoint) == 1
    assert moved(lambda: call(path), "gunicorn_requests_total") == 1
    assert moved(lambda: call(path), "gunicorn_request_exceptions_total") == 0
    assert moved(lambda: call(path), "gunicorn_worker_requests_in_progress") == 0


def test_what_an_exception_view_answers_is_told() -> None:
    """Whatever its status."""
    call = pyramid_site.calls()

    error = {"endpoint": "/handled", "error_type": "HandledError"}
    assert call("/handled").status == 409
    assert moved(lambda: call("/handled"), "gunicorn_request_exceptions_total", **error) == 1


def test_an_http_exception_is_an_answer() -> None:
    """Pyramid's HTTP exceptions are responses, raised or returned."""
    call = pyramid_site.calls()

    assert call("/unavailable").status == 503
    assert moved(lambda: call("/unavailable"), "gunicorn_request_exceptions_total") == 0


def test_a_file_is_sent_whole_and_counted_when_it_is_out() -> None:
    """Its Content-Length stays."""
    call = pyramid_site.calls()

    answer = call("/file")

    assert int(answer.headers["content-length"]) == len(answer.body) > 0
    sent = "gunicorn_worker_response_size_bytes_sum"
    assert moved(lambda: call("/file"), sent) == len(answer.body)


def test_a_client_that_leaves_is_counted_as_such() -> None:
    """Status 499, once, and nothing stays in progress."""
    app = pyramid_site.configure().make_wsgi_app()

    def leave() -> None:
        body = app(wsgi_environ("/stream"), lambda *arguments: None)
        next(iter(body))
        body.close()

    labels = {"endpoint": "/stream", "status": "499"}
    assert moved(leave, "gunicorn_requests_total", **labels) == 1
    assert moved(leave, "gunicorn_worker_requests_in_progress") == 0


def test_included_twice_it_counts_once() -> None:
    """Pyramid includes a package once, and so do we."""
    config = pyramid_site.configure()
    config.include("gunicorn_prometheus_pyramid")
    call = Calls(config.make_wsgi_app(), "wsgi")

    assert moved(lambda: call("/plain"), "gunicorn_requests_total") == 1


@pytest.mark.parametrize(
    ("key", "value"), [("buckets", "fast"), ("excludes", "/x"), ("labels.tenant", "no.such.name")]
)
def test_a_wrong_setting_stops_the_start(key: str, value: str) -> None:
    """The error names it as the .ini file spells it."""
    with pytest.raises(SettingsError, match=r"gunicorn_prometheus\."):
        small_app(**{f"gunicorn_prometheus.{key}": value})


def test_webtest_works() -> None:
    """Tests of an application see its metrics, without gunicorn."""
    app = WebTestApp(small_app())

    with metric_delta("gunicorn_requests_total", endpoint="/one/{id}") as delta:
        app.get("/one/3")

    assert delta.value == 1
