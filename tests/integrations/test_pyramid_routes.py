"""Pyramid's requests carry the pattern of their route, or the class of their resource."""

from __future__ import annotations

import pytest

from gunicorn_prometheus_exporter.route import UNMATCHED
from gunicorn_prometheus_pyramid.patterns import readable
from tests.integrations import pyramid_site
from tests.integrations.calls import Calls


@pytest.fixture(scope="module")
def call() -> Calls:
    """A client of the application."""
    return pyramid_site.calls()


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/users/7", "/users/{id}"),
        ("/r/2024/x", "/r/{year}/{slug}"),
        ("/old/a/b", "/old/{first}/{second}"),
        ("/star/a/b/c", "/star/*rest"),
        # One include under two prefixes.
        ("/v1/acme/items/7", "/v1/{tenant}/items/{item}"),
        ("/v2/items/7", "/v2/items/{item}"),
        # A route that goes on by traversal.
        ("/hybrid/a/docs/one", "/hybrid/{site}/*traverse"),
        # A view of static files.
        ("/static/pyramid_site.py", "/static/*subpath"),
        ("/file", "/file"),
        # Traversal alone.
        ("/", "traversal:Folder"),
        ("/docs/", "traversal:Folder"),
        ("/docs/one", "traversal:Document"),
        ("/docs/two/edit", "traversal:Document/edit"),
    ],
)
def test_a_request_carries_the_template(call: Calls, path: str, endpoint: str) -> None:
    """What answers is named, however it was found."""
    answer = call(path)

    assert answer.status == 200
    assert call.route.endpoint == endpoint


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/vmeth/3", "/vmeth/{id}"),  # the view predicate wants POST
        ("/absent", "/absent"),  # the view says so
        ("/hybrid/a/docs/three/", "/hybrid/{site}/*traverse"),
        ("/static/nope.txt/", "/static/*subpath"),
    ],
)
def test_a_404_below_a_route_keeps_the_template(call: Calls, path: str, endpoint: str) -> None:
    """The route matched, whatever came of it."""
    assert call(path).status == 404
    assert call.route.endpoint == endpoint


@pytest.mark.parametrize(
    "path",
    [
        "/zzz1",
        "/zzz1/zzz2",
        "/docs/three",
        "/docs/one/nope",
        "/docs/one/gone",  # its view answers 404: no telling it from a piece of the path
        "/predicated/3",  # the route predicate wants PUT
        "/r/24/x",
        "/%C3%B1and%C3%BA",
    ],
)
def test_nothing_that_answers_is_the_sentinel(call: Calls, path: str) -> None:
    """On a 404 of traversal the view name is a piece of the path, and never a label."""
    assert call(path).status == 404
    assert call.route.endpoint == UNMATCHED


def test_a_not_found_view_that_answers_200_names_nothing() -> None:
    """A single-page application answers everything: that would make a label of each path."""
    config = pyramid_site.configure(not_found=pyramid_site.single_page)
    call = Calls(config.make_wsgi_app(), "wsgi")

    assert call("/zzz1").status == 200
    assert call.route.endpoint == UNMATCHED


def test_an_error_in_a_traversal_view_keeps_the_label(call: Calls) -> None:
    """The view was found, and failed."""
    assert call("/docs/one/boom").status == 500
    assert call.route.endpoint == "traversal:Document/boom"
    assert isinstance(call.route.exception, ZeroDivisionError)


def test_a_slash_redirect_carries_the_template_of_its_target(call: Calls) -> None:
    """`append_slash` redirects where nothing matches."""
    assert call("/slashed/7").status == 307
    assert call.route.endpoint == "/slashed/{id}/"
    assert call.endpoint("/moved") == "/moved"


@pytest.mark.parametrize("status", [200, 307, 403, 503])
def test_what_a_tween_answers_is_resolved_on_demand(call: Calls, status: int) -> None:
    """Its path still has a template, though nobody has asked for it."""
    headers = {"X-Answer": str(status)}

    assert call("/users/7", headers=headers).status == status
    assert call.route.endpoint == "/users/{id}"
    assert call.endpoint("/docs/one", headers=headers) == UNMATCHED
    assert call.endpoint("/zzz1", headers=headers) == UNMATCHED


def test_a_path_that_is_no_utf8_is_answered_as_ever(call: Calls) -> None:
    """Pyramid raises at it; the label is the sentinel."""
    assert call("/%ff%fe").status == 500
    assert call.route.endpoint == UNMATCHED


def test_a_deployment_prefix_is_no_part_of_the_path(call: Calls) -> None:
    """Under SCRIPT_NAME the same route has the same template."""
    assert call.endpoint("/users/7", prefix="/deployed") == "/users/{id}"
    assert call.endpoint("/docs/one", prefix="/deployed") == "traversal:Document"
    included = pyramid_site.calls(include_prefix=True)
    assert included.endpoint("/users/7", prefix="/deployed") == "/deployed/users/{id}"
    assert included.endpoint("/zzz1", prefix="/deployed") == UNMATCHED


@pytest.mark.parametrize(
    ("pattern", "template"),
    [
        (r"/r/{year:\d{4}}/{slug}", "/r/{year}/{slug}"),
        (r"{a:x{1,2}y{3}}/{b}", "{a}/{b}"),
        ("/u/:id/:name", "/u/{id}/{name}"),
        ("/u/{id}/at:noon", "/u/{id}/at:noon"),
        ("/plain", "/plain"),
        ("", ""),
        ("/files/*path", "/files/*path"),
        (r"/t/{when:\d\d:\d\d}", "/t/{when}"),
    ],
)
def test_patterns_lose_their_regexes(pattern: str, template: str) -> None:
    """As pyramid.urldispatch reads them."""
    assert readable(pattern) == template
