"""The answers of the endpoint, as functions of the request."""

from __future__ import annotations

import gzip
import logging
from html.parser import HTMLParser

import pytest

from gunicorn_prometheus_exporter.exporter import endpoint as endpoint_module
from gunicorn_prometheus_exporter.exporter.endpoint import (
    OPENMETRICS,
    TEXT,
    Endpoint,
    Request,
    Response,
    respond,
)
from gunicorn_prometheus_exporter.exporter.negotiation import accepts_gzip, prefers_openmetrics

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    "encoding=delimited;q=0.7," + PROMETHEUS_2
)
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


class Scrapes:
    """Counts scrapes as the exporter's own metrics do."""

    def __init__(self) -> None:
        self.observed: list[float] = []
        self.failures = 0

    def observe(self, seconds: float) -> None:
        self.observed.append(seconds)

    def failed(self) -> None:
        self.failures += 1


class Renderer:
    """Renders what it was asked for, or raises `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.self_metrics = Scrapes()
        self.error = error

    def render(self, *, openmetrics: bool, names: frozenset[str]) -> bytes:
        if self.error is not None:
            raise self.error
        return f"openmetrics={openmetrics} names={','.join(sorted(names))}\n".encode()


def headers(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers}


def get(path: str, renderer: Renderer | None = None, method: str = "GET") -> Response:
    return Endpoint(renderer or Renderer()).respond(Request(method, path))


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2,
        PROMETHEUS_3,
        PROMETHEUS_PROTOBUF,
        "application/openmetrics-text",
        "Application/OpenMetrics-Text ; Version=1.0.0",
        'application/openmetrics-text; version="1.0.0"',
        "application/openmetrics-text, text/plain",
        "application/openmetrics-text;q=0.5, */*;q=0.1",
    ],
)
def test_openmetrics_is_sent_to_who_asks_for_it_by_name(accept: str) -> None:
    response = respond(Renderer(), accept=accept)

    assert headers(response)["content-type"] == OPENMETRICS
    assert response.body == b"openmetrics=True names=\n"


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        CHROME,
        "text/plain",
        "text/plain;version=0.0.4",
        "application/json",
        "application/*",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=0.2, text/plain;q=0.3",
        "application/openmetrics-text;q=0.2, text/*;q=0.3",
        "application/openmetrics-text;q=0.2, */*",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;q=nonsense",
        "application/openmetrics-text;q=nan",
        "application/openmetrics-text;q=7",
        ";;;,,,=;q=;\x00\xff",
        "text/plain;q=0",
    ],
)
def test_everything_else_is_sent_the_text_format(accept: str) -> None:
    response = respond(Renderer(), accept=accept)

    assert response.status == 200
    assert headers(response)["content-type"] == TEXT
    assert response.body == b"openmetrics=False names=\n"


def test_the_most_specific_range_decides_how_much_text_is_wanted() -> None:
    """RFC 9110, 12.5.1: `text/plain;q=0.1` counts, not the `*/*` beside it."""
    accept = "text/plain;q=0.1, */*;q=0.9, application/openmetrics-text;q=0.5"

    assert prefers_openmetrics(accept)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("gzip", True),
        ("deflate, gzip, br", True),
        ("GZIP;Q=0.3", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0.5, identity;q=0.5", True),
        ("", False),
        ("identity", False),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *;q=1", False),
        ("*;q=0", False),
        ("gzip;q=0.1, identity;q=0.9", False),
        ("gzip;q=maybe", False),
    ],
)
def test_gzip_is_used_where_it_is_accepted(accept_encoding: str, expected: bool) -> None:
    assert accepts_gzip(accept_encoding) is expected


def test_a_compressed_answer_says_so_and_holds_the_same() -> None:
    response = respond(Renderer(), accept_encoding="gzip")

    assert gzip.decompress(response.body) == respond(Renderer()).body
    assert headers(response)["content-encoding"] == "gzip"
    assert headers(response)["content-length"] == str(len(response.body))


def test_caches_are_told_what_an_answer_depends_on() -> None:
    response = respond(Renderer())

    assert headers(response)["vary"] == "Accept, Accept-Encoding"
    assert headers(response)["cache-control"] == "no-store"
    assert "content-encoding" not in headers(response)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name[]=a_total", "a_total"),
        ("name[]=b&name[]=a", "a,b"),
        ("name%5B%5D=a&other=c", "a"),
        ("name[]=", ""),
        ("name=a", ""),
        ("%%%&&=&name[]=%ff", "\ufffd"),
    ],
)
def test_the_names_in_the_query_are_handed_to_the_renderer(query: str, names: str) -> None:
    response = respond(Renderer(), query_string=query)

    assert response.body.decode() == f"openmetrics=False names={names}\n"


def test_a_query_without_end_is_refused() -> None:
    assert respond(Renderer(), query_string="a=1&" * 2000).status == 400


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_both_slash_forms_lead_to_the_metrics(path: str) -> None:
    assert get(path).body.startswith(b"openmetrics=")


@pytest.mark.parametrize("path", ["/metric", "/metricsx", "/metrics//", "/favicon.ico", "*", ""])
def test_other_paths_are_not_found(path: str) -> None:
    assert get(path).status == 404


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_only_get_and_head_are_allowed(path: str, method: str) -> None:
    response = get(path, method=method)

    assert response.status == 405
    assert headers(response)["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/missing"])
def test_head_has_the_headers_of_get_and_no_body(path: str) -> None:
    expected, response = get(path), get(path, method="HEAD")

    assert response.body == b""
    assert (response.status, response.headers) == (expected.status, expected.headers)


def test_the_instance_is_served_only_where_there_is_one() -> None:
    class Instance(Renderer):
        def render(self, *, openmetrics: bool, names: frozenset[str]) -> bytes:
            return b"of this instance\n"

    shared = Endpoint(Renderer(), Instance())

    assert get("/metrics/instance").status == 404
    assert shared.respond(Request("GET", "/metrics/instance")).body == b"of this instance\n"
    assert shared.respond(Request("GET", "/metrics/instance/")).body == b"of this instance\n"
    assert shared.respond(Request("GET", "/metrics")).body.startswith(b"openmetrics=")


def test_a_scrape_is_recorded_with_its_duration() -> None:
    renderer = Renderer()

    respond(renderer)

    assert len(renderer.self_metrics.observed) == 1
    assert 0 < renderer.self_metrics.observed[0] < 1
    assert renderer.self_metrics.failures == 0


def test_a_failure_is_an_answer_that_is_counted_and_logged_once_per_kind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "_reported", set())
    renderer = Renderer(ZeroDivisionError("secret detail"))

    with caplog.at_level(logging.INFO, "gunicorn_prometheus_exporter"):
        responses = [respond(renderer) for _ in range(3)]
        respond(Renderer(LookupError("of another kind")))

    assert [response.status for response in responses] == [500, 500, 500]
    assert b"ZeroDivisionError" in responses[0].body
    assert b"secret detail" not in responses[0].body
    assert renderer.self_metrics.failures == 3
    assert renderer.self_metrics.observed == []
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        ZeroDivisionError,
        LookupError,
    ]


def test_it_is_healthy_even_where_nothing_can_be_read() -> None:
    assert get("/-/healthy", Renderer(OSError("gone"))).status == 200


def test_it_is_ready_once_the_metrics_could_be_read() -> None:
    renderer = Renderer(OSError("not there yet"))
    endpoint = Endpoint(renderer)
    ready = Request("GET", "/-/ready")

    assert endpoint.respond(ready).status == 503
    renderer.error = None
    assert endpoint.respond(ready).status == 200


def test_readiness_does_not_render_again_what_was_read_once() -> None:
    renderer = Renderer()
    endpoint = Endpoint(renderer)
    endpoint.respond(Request("GET", "/metrics"))

    endpoint.respond(Request("GET", "/-/ready"))

    assert len(renderer.self_metrics.observed) == 1


class Links(HTMLParser):
    """Collects the links and the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.targets += [value for name, value in attrs if name == "href" and value]


def test_every_link_of_the_human_page_leads_somewhere() -> None:
    endpoint = Endpoint(Renderer(), Renderer(), title="shop")

    page = endpoint.respond(Request("GET", "/"))
    targets = Links(page.body.decode()).targets

    assert headers(page)["content-type"] == "text/html; charset=utf-8"
    assert targets == ["metrics", "metrics/instance", "-/healthy", "-/ready"]
    assert {endpoint.respond(Request("GET", f"/{link}")).status for link in targets} == {200}


def test_the_human_page_escapes_its_title() -> None:
    endpoint = Endpoint(Renderer(), title='<script>alert("{x}")</script>')

    page = endpoint.respond(Request("GET", "/")).body.decode()

    assert "script" not in Links(page).tags
    assert "&lt;script&gt;" in page
