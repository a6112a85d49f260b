"""Endpoint labels for applications without an adapter."""

from __future__ import annotations

import random

import pytest

from gunicorn_prometheus_exporter.limits import OTHER
from gunicorn_prometheus_exporter.paths import UNROUTED, EndpointInference, template_of
from gunicorn_prometheus_exporter.route import UNMATCHED


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("", "/"),
        ("//", "/"),
        ("/users", "/users"),
        ("/users/", "/users/"),
        ("/users/17", "/users/:id"),
        ("/users/17/", "/users/:id/"),
        ("/users/17/orders/-3", "/users/:id/orders/:id"),
        ("/at/52.5/13.37", "/at/:id/:id"),
        ("/v2/users", "/v2/users"),
        ("/oauth2/token", "/oauth2/token"),
        ("/jobs/123e4567-e89b-12d3-a456-426614174000", "/jobs/:id"),
        ("/jobs/123E4567E89B12D3A456426614174000", "/jobs/:id"),
        ("/commits/9fceb02", "/commits/:id"),
        ("/commits/0xdeadbeef1", "/commits/:id"),
        ("/decade/facade", "/decade/facade"),
        ("/days/2024-02-29", "/days/:id"),
        ("/days/2024-02-29T12:00:00Z", "/days/:id"),
        ("/reset/Zm9vYmFyYmF6cXV4MTIz", "/reset/:id"),
        ("/reset/Zm9vYmFyYmF6cXV4MQ==", "/reset/:id"),
        ("/frequently-asked-questions", "/frequently-asked-questions"),
        ("/" + "a" * 40, "/:id"),
        ("/mail/ann@example.com", "/mail/:id"),
        ("/search/a%20b", "/search/:id"),
        ("/tags/a,b", "/tags/:id"),
        ("/straße", "/:id"),
        ("/users/\x00", "/users/:id"),
        ("/" + "/ab" * 100, OTHER),
    ],
)
def test_segments_that_look_variable_are_replaced(path: str, template: str) -> None:
    assert template_of(path) == template


def inference(maximum: int = 10, in_use: set[str] | None = None) -> EndpointInference:
    """Return an inference of at most `maximum` names."""
    return EndpointInference(in_use or set(), maximum)


@pytest.mark.parametrize("status", [404, 405])
def test_what_no_route_answers_is_unmatched_and_takes_no_name(status: int) -> None:
    inferring = inference(maximum=1)

    assert inferring.endpoint("/nowhere", status) == UNMATCHED
    assert inferring.endpoint("/here", 200) == "/here"


def test_beyond_the_maximum_names_are_other_and_known_ones_stay() -> None:
    inferring = inference(maximum=2)

    names = [inferring.endpoint(path, 200) for path in ("/a", "/b", "/c", "/a", "/d", "/b")]

    assert names == ["/a", "/b", OTHER, "/a", OTHER, "/b"]


def test_names_that_a_predecessor_exposed_count_and_go_on() -> None:
    inferring = inference(maximum=2, in_use={"/old", "/older"})

    assert inferring.endpoint("/old", 200) == "/old"
    assert inferring.endpoint("/new", 200) == OTHER


def test_any_number_of_random_paths_leaves_few_names() -> None:
    inferring, chance = inference(maximum=200), random.Random(1)

    names = {
        inferring.endpoint(f"/{chance.getrandbits(30):x}/{chance.getrandbits(20)}", 200)
        for _ in range(20_000)
    }

    assert len(names) <= 201


def test_switched_off_all_is_unrouted() -> None:
    inferring = EndpointInference(set(), 10, enabled=False)

    assert {inferring.endpoint("/a", status) for status in (200, 404, 500)} == {UNROUTED}
