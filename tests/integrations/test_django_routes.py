"""Django's requests carry the template of the URL pattern that answers them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings

from gunicorn_prometheus_exporter.route import UNMATCHED
from tests.integrations import django_site
from tests.integrations.calls import Calls

django_site.start()


@pytest.fixture(params=["wsgi", "asgi"])
def call(request: pytest.FixtureRequest) -> Iterator[Calls]:
    """A client of the project, by each protocol."""
    with override_settings(GUNICORN_PROMETHEUS={}):
        yield django_site.calls(request.param)


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/", "/"),
        ("/users/7", "/users/<int:pk>"),
        # One include under two prefixes, asked for in both orders.
        ("/api/v1/7/", "/api/v1/<int:pk>/"),
        ("/api/v2/8/", "/api/v2/<int:pk>/"),
        ("/api/v1/9/", "/api/v1/<int:pk>/"),
        ("/api/v2/", "/api/v2/"),
        ("/tenants/acme/shop/4/", "/tenants/<slug:tenant>/shop/<int:pk>/"),
        # Regexes, alone and mixed with paths.
        ("/articles/2024/my-post/", "/articles/<year>/<slug>/"),
        ("/shops/acme/4/", "/shops/<shop>/<int:pk>/"),
        ("/c++/3.html", "/c++/<page>.html"),
        ("/comments/", "/comments/"),
        ("/comments/page-3/", "/comments/"),
        ("/pairs/3/4/", "/pairs/<var>/<var>/"),
        # Converters.
        ("/archive/2024/", "/archive/<yyyy:year>/"),
        ("/files/a/b/c.txt", "/files/<path:rest>"),
        # Views of all kinds.
        ("/async/3", "/async/<int:pk>"),
        ("/async-class/3", "/async-class/<int:pk>"),
        # Django REST framework's routers.
        ("/drf/items/", "/drf/items/"),
        ("/drf/items/3/", "/drf/items/<pk>/"),
        ("/drf/items/3.json", "/drf/items/<pk>.<format>/"),
        # The prefix of a language stays as Django resolves it, translated routes too.
        ("/en/about/", "/en/about/"),
        ("/de/about/", "/de/about/"),
        ("/de/preise/", "/de/preise/"),
        ("/en/prices/", "/en/prices/"),
        ("/admin/login/", "/admin/login/"),
    ],
)
def test_a_request_carries_the_template(call: Calls, path: str, endpoint: str) -> None:
    """What matched is named by its pattern, however it was included."""
    answer = call(path)

    assert answer.status == 200
    assert call.route.endpoint == endpoint


@pytest.mark.parametrize(
    "path", ["/nope/12345", "/users/seven", "/archive/20245/", "/de/prices/", "/api/v1/leaf/"]
)
def test_no_pattern_is_the_sentinel(call: Calls, path: str) -> None:
    """A 404 of the resolver never becomes a label."""
    answer = call(path)

    assert answer.status == 404
    assert call.route.endpoint == UNMATCHED


def test_a_404_of_the_view_keeps_the_template(call: Calls) -> None:
    """The pattern matched: that there is no such object is the view's answer."""
    assert call("/absent").status == 404
    assert call.route.endpoint == "/absent"


def test_a_wrong_method_keeps_the_template(call: Calls) -> None:
    """A 405 says which endpoint was misused."""
    assert call("/users/7", method="DELETE").status == 405
    assert call.route.endpoint == "/users/<int:pk>"


def test_a_slash_redirect_carries_the_template_of_its_target(call: Calls) -> None:
    """APPEND_SLASH answers 301 where nothing resolves."""
    assert call("/api/v1/7").status == 301
    assert call.route.endpoint == "/api/v1/<int:pk>/"


def test_a_redirect_to_elsewhere_is_no_slash_redirect(call: Calls) -> None:
    """LocaleMiddleware's redirect comes from a path that no pattern answers."""
    answer = call("/about/")

    assert answer.status == 302
    assert answer.headers["location"] == "/en/about/"
    assert call.route.endpoint == UNMATCHED


@pytest.mark.parametrize("status", [200, 301, 403, 503])
def test_what_a_middleware_answers_is_resolved_on_demand(call: Calls, status: int) -> None:
    """Its path still has a template, though nobody has asked for it."""
    headers = {"X-Answer": str(status)}

    assert call("/api/v1/7/", headers=headers).status == status
    assert call.route.endpoint == "/api/v1/<int:pk>/"
    call("/nope/7", headers=headers)
    assert call.route.endpoint == UNMATCHED


def test_the_urls_of_the_request_count(call: Calls) -> None:
    """`request.urlconf` replaces the project's URLs, also where a middleware answers."""
    other = {"Host": "other.example"}

    assert call.endpoint("/other/3/", headers=other) == "/other/<int:pk>/"
    assert call.endpoint("/users/3", headers=other) == UNMATCHED
    assert call.endpoint("/other/3/") == UNMATCHED


def test_a_deployment_prefix_is_no_part_of_the_path(call: Calls) -> None:
    """Under SCRIPT_NAME the same pattern has the same template, also when it is redirected to."""
    assert call.endpoint("/api/v1/7/", prefix="/deployed") == "/api/v1/<int:pk>/"
    assert call.endpoint("/api/v1/7", prefix="/deployed") == "/api/v1/<int:pk>/"
    answered = {"X-Answer": "403"}
    assert call.endpoint("/api/v1/7/", prefix="/deployed", headers=answered) == "/api/v1/<int:pk>/"


def test_a_deployment_prefix_can_be_included() -> None:
    """INCLUDE_PREFIX puts it before the template, and not before the sentinel."""
    with override_settings(GUNICORN_PROMETHEUS={"INCLUDE_PREFIX": True}):
        call = django_site.calls("wsgi")

        assert call.endpoint("/api/v1/7/", prefix="/deployed") == "/deployed/api/v1/<int:pk>/"
        assert call.endpoint("/nope", prefix="/deployed") == UNMATCHED


def test_odd_paths_are_answered_as_ever(call: Calls) -> None:
    """Line breaks, other alphabets and doubled slashes neither fail nor leak."""
    for path in ("/nope%0A7", "/ñandú/7", "//users//7", "/users/7%0A", "/%ff%fe"):
        assert call(path).status == 404
        assert call.route.endpoint == UNMATCHED
