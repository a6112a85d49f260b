"""What every framework adapter does alike, run by each of them on the same little application.

A test module makes it its own with a subclass of `AdapterConformance` (named `Test...`) that says
how to build the application and how its framework spells the templates. The application answers:

| path           | what it does                                                               |
|----------------|----------------------------------------------------------------------------|
| /plain         | 200, the body `plain`, to GET                                              |
| /users/7       | 200, `user 7`, to GET only; the id is an integer                           |
| /absent        | its view answers 404                                                       |
| /boom          | raises ZeroDivisionError, which nothing handles                            |
| /swallowed     | raises `SwallowedError`, answered with a 500 by the framework's own handler |
| /stream        | streams the three chunks of `CHUNKS`                                       |
| /broken-stream | streams one chunk, then raises `BrokenError`                               |
| /hidden        | 200; its view carries the adapter's `exclude` marker                       |
| /healthz       | 200                                                                        |
| /labelled /bucketed /grouped /prefixed | 200; each for one test that needs its own series   |

Everything runs without gunicorn, so the metrics are this process's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.inprocess import expose
from gunicorn_prometheus_exporter.route import UNMATCHED

CHUNKS = (b"one ", b"two ", b"three")
METRICS_PATH = "/internal/metrics"
ACCEPT_OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


class SwallowedError(Exception):
    """Raised by /swallowed."""


class BrokenError(Exception):
    """Raised by /broken-stream after its first chunk."""


@dataclass(frozen=True)
class Answer:
    """A response as its client saw it; header names are in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Client(Protocol):
    """Sends one request, reads the whole response and closes it, as a server would.

    An exception that reaches the server is swallowed: status 500 where no response had begun.
    `prefix` is the deployment prefix: SCRIPT_NAME or root_path. `path` may carry a query string.
    """

    def __call__(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        prefix: str = "",
    ) -> Answer: ...


def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample that this process exposes, by name and labels."""
    _, body = expose("")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def total(name: str, **labels: str) -> float:
    """Return the sum of all samples of this name that carry at least these labels."""
    wanted = set(labels.items())
    return sum(value for (n, have), value in samples().items() if n == name and wanted <= have)


def moved(act: Callable[[], Any], name: str, **labels: str) -> float:
    """Return by how much `act` moves the sum of these samples."""
    before = total(name, **labels)
    act()
    return total(name, **labels) - before


def label_values(name: str, label: str, **labels: str) -> set[str]:
    """Return the values that `label` has among the samples of this name with these labels."""
    wanted = set(labels.items())
    return {
        dict(have)[label]
        for (n, have) in samples()
        if n == name and wanted <= have and label in dict(have)
    }


def our_series() -> int:
    """Return how many series of ours are exposed."""
    return sum(name.startswith("gunicorn_") for name, _ in samples())


def junk_requests(count: int, seed: int = 4) -> Iterable[dict[str, Any]]:
    """Yield requests with random ids, paths, methods and hosts."""
    chance = random.Random(seed)
    for turn in range(count):
        word = f"{chance.getrandbits(64):x}"
        headers = {"Host": f"{word}.example.com"}
        if turn % 4 == 0:
            yield {"path": f"/users/{chance.randrange(10**9)}", "headers": headers}
        elif turn % 4 == 1:
            yield {"path": f"/{word}/{turn}", "headers": headers}
        elif turn % 4 == 2:
            yield {"path": f"/users/{turn}", "method": f"M{word.upper()}", "headers": headers}
        else:
            yield {"path": f"/{word}", "method": f"M{word.upper()}", "headers": headers}


class AdapterConformance:
    """The suite. Names in the class body below are what a subclass supplies."""

    user_template = "/users/{id}"
    """How the framework spells the template of /users/7, with a leading slash."""

    wrong_method_status = 405
    """What the framework answers to POST /users/7."""

    random_requests = 10_000

    def client(self, **settings: Any) -> Client:
        """Build the application with these adapter settings and return a client for it."""
        raise NotImplementedError

    def break_resolver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the adapter's resolver raise RuntimeError for every request."""
        raise NotImplementedError

    # Names

    def test_a_matched_request_counts_once_under_its_template(self) -> None:
        """One request, one count, one duration, under the template and not under the path."""
        call = self.client()
        labels = {"method": "GET", "endpoint": self.user_template}

        assert moved(lambda: call("/users/7"), "gunicorn_requests_total", **labels) == 1
        ok = {**labels, "status": "200"}
        assert moved(lambda: call("/users/8"), "gunicorn_requests_total", **ok) == 1
        duration = "gunicorn_request_duration_seconds_count"
        assert moved(lambda: call("/users/9"), duration, **labels) == 1

    def test_a_request_counts_once_in_all(self) -> None:
        """Nothing else is counted beside it, whatever the labels."""
        call = self.client()

        assert moved(lambda: call("/plain"), "gunicorn_requests_total") == 1

    def test_no_route_is_the_sentinel(self) -> None:
        """A path that no route matches never becomes a label."""
        call = self.client()
        labels = {"endpoint": UNMATCHED, "status": "404"}

        assert moved(lambda: call("/nope/12345"), "gunicorn_requests_total", **labels) == 1
        assert not any("12345" in value for _, have in samples() for _, value in have)

    def test_a_404_of_the_view_keeps_the_template(self) -> None:
        """The route matched: that the view found no object is its answer."""
        call = self.client()
        labels = {"endpoint": "/absent", "status": "404"}

        assert moved(lambda: call("/absent"), "gunicorn_requests_total", **labels) == 1

    def test_a_wrong_method_carries_the_template(self) -> None:
        """A 405 says which endpoint was misused."""
        call = self.client()
        status = self.wrong_method_status
        labels = {"method": "POST", "endpoint": self.user_template, "status": str(status)}

        assert call("/users/7", method="POST").status == status
        act = lambda: call("/users/7", method="POST")  # noqa: E731
        assert moved(act, "gunicorn_requests_total", **labels) == 1

    def test_an_unknown_method_is_other(self) -> None:
        """A client cannot make series out of methods."""
        call = self.client()
        act = lambda: call("/users/7", method="BREW")  # noqa: E731

        assert moved(act, "gunicorn_requests_total", method="OTHER") == 1
        assert "BREW" not in label_values("gunicorn_requests_total", "method")

    def test_random_requests_leave_a_constant_number_of_series(self) -> None:
        """Ids, paths, methods and hosts that clients make up cost nothing."""
        call = self.client()
        for request in junk_requests(4, seed=1):
            call(**request)
        before = our_series()

        for request in junk_requests(self.random_requests):
            call(**request)

        assert our_series() == before

    def test_the_deployment_prefix_is_left_out(self) -> None:
        """Where the application is deployed is no part of its endpoints."""
        call = self.client()
        act = lambda: call("/prefixed", prefix="/deployed")  # noqa: E731

        assert moved(act, "gunicorn_requests_total", endpoint="/prefixed", status="200") == 1

    def test_the_deployment_prefix_can_be_included(self) -> None:
        """`include_prefix` puts it before the template."""
        call = self.client(include_prefix=True)
        act = lambda: call("/prefixed", prefix="/deployed")  # noqa: E731

        assert moved(act, "gunicorn_requests_total", endpoint="/deployed/prefixed") == 1

    def test_a_resolver_that_raises_leaves_the_response_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The request is answered as ever, and counted under the sentinel."""
        self.break_resolver(monkeypatch)
        call = self.client()
        act = lambda: call("/plain")  # noqa: E731

        assert call("/plain") == Answer(200, b"plain", call("/plain").headers)
        labels = {"endpoint": UNMATCHED, "status": "200"}
        assert moved(act, "gunicorn_requests_total", **labels) == 1

    # Exceptions

    def test_an_unhandled_exception_counts_once(self) -> None:
        """The request, its 500 and its exception are each counted once, under the template."""
        call = self.client()
        endpoint = {"method": "GET", "endpoint": "/boom"}
        error = {**endpoint, "error_type": "ZeroDivisionError"}

        assert call("/boom").status == 500
        act = lambda: call("/boom")  # noqa: E731
        assert moved(act, "gunicorn_request_exceptions_total", **error) == 1
        assert moved(act, "gunicorn_request_exceptions_total") == 1
        assert moved(act, "gunicorn_requests_total", **endpoint, status="500") == 1

    def test_a_swallowed_exception_is_reported(self) -> None:
        """What a handler turned into a response has been raised all the same."""
        call = self.client()
        error = {"method": "GET", "endpoint": "/swallowed", "error_type": "SwallowedError"}

        assert call("/swallowed").status == 500
        act = lambda: call("/swallowed")  # noqa: E731
        assert moved(act, "gunicorn_request_exceptions_total", **error) == 1
        assert moved(act, "gunicorn_request_exceptions_total") == 1

    def test_an_http_error_is_no_exception(self) -> None:
        """404 and 405 are answers, however the framework makes them."""
        call = self.client()

        def act() -> None:
            call("/absent")
            call("/nope")
            call("/users/7", method="POST")

        assert moved(act, "gunicorn_request_exceptions_total") == 0

    # Bodies

    def test_a_streamed_response_counts_once_when_it_ends(self) -> None:
        """All of its bytes arrive and are counted, under its template."""
        call = self.client()
        labels = {"endpoint": "/stream", "status": "200"}

        assert call("/stream").body == b"".join(CHUNKS)
        act = lambda: call("/stream")  # noqa: E731
        assert moved(act, "gunicorn_requests_total", **labels) == 1
        sent = "gunicorn_worker_response_size_bytes_sum"
        assert moved(act, sent) == len(b"".join(CHUNKS))

    def test_a_stream_that_breaks_is_an_exception_of_its_endpoint(self) -> None:
        """What is raised after the headers went out is reported too, once."""
        call = self.client()
        error = {"endpoint": "/broken-stream", "error_type": "BrokenError"}

        act = lambda: call("/broken-stream")  # noqa: E731
        assert moved(act, "gunicorn_request_exceptions_total", **error) == 1
        assert moved(act, "gunicorn_requests_total", endpoint="/broken-stream") == 1

    def test_nothing_stays_in_progress(self) -> None:
        """However a request ends, it has ended."""
        call = self.client()
        paths = ("/plain", "/nope", "/boom", "/swallowed", "/stream", "/broken-stream", "/hidden")

        def act() -> None:
            for path in paths:
                call(path)

        assert moved(act, "gunicorn_worker_requests_in_progress") == 0

    # Settings

    def test_a_marked_view_is_left_out(self) -> None:
        """The marker on a view keeps it out of every metric."""
        call = self.client()

        assert call("/hidden").status == 200
        assert moved(lambda: call("/hidden"), "gunicorn_requests_total") == 0

    def test_a_path_can_be_excluded(self) -> None:
        """`exclude` takes paths, with wildcards, and touches nothing else."""
        call = self.client(exclude=["/health*"])

        assert call("/healthz").status == 200
        assert moved(lambda: call("/healthz"), "gunicorn_requests_total") == 0
        assert moved(lambda: call("/plain"), "gunicorn_requests_total") == 1

    def test_a_template_can_be_excluded(self) -> None:
        """`exclude` takes route templates."""
        call = self.client(exclude=[self.user_template])

        assert moved(lambda: call("/users/7"), "gunicorn_requests_total") == 0
        assert moved(lambda: call("/plain"), "gunicorn_requests_total") == 1

    def test_extra_labels_are_asked_of_the_request(self) -> None:
        """The callable gets the framework's request; a long answer is cut."""
        seen: list[object] = []

        def tenant(request: object) -> str:
            seen.append(request)
            return "t" * 1000

        call = self.client(labels={"tenant": tenant})
        labels = {"endpoint": "/labelled", "tenant": "t" * 128}

        assert moved(lambda: call("/labelled"), "gunicorn_requests_total", **labels) == 1
        assert len(seen) == 1
        assert seen[0] is not None

    def test_a_label_that_raises_leaves_the_response_alone(self) -> None:
        """The label is empty; the request is answered and counted."""

        def tenant(request: object) -> str:
            raise LookupError("no tenant")

        call = self.client(labels={"tenant": tenant})

        assert call("/labelled").status == 200
        act = lambda: call("/labelled")  # noqa: E731
        assert moved(act, "gunicorn_requests_total", endpoint="/labelled") == 1
        assert moved(act, "gunicorn_request_exceptions_total") == 0

    def test_buckets_are_the_applications(self) -> None:
        """`buckets` are the bounds of the request durations."""
        call = self.client(buckets=[0.5, 2])

        call("/bucketed")

        bucket = "gunicorn_request_duration_seconds_bucket"
        bounds = label_values(bucket, "le", endpoint="/bucketed")
        assert {float(bound) for bound in bounds} == {0.5, 2.0, float("inf")}

    def test_statuses_can_be_grouped(self) -> None:
        """`group_status` makes one series of all successes."""
        call = self.client(group_status=True)
        labels = {"endpoint": "/grouped", "status": "2xx"}

        assert moved(lambda: call("/grouped"), "gunicorn_requests_total", **labels) == 1

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("no_such_setting", 1),
            ("buckets", "fast,slow"),
            ("labels", {"method": str}),
            ("metrics_path", "metrics"),
            ("metrics_auth", "secret"),
        ],
    )
    def test_a_setting_that_cannot_be_used_stops_the_start(self, name: str, value: Any) -> None:
        """It is named in the error, before any request is served."""
        with pytest.raises(SettingsError, match=name):
            self.client(**{name: value})("/plain")

    # The metrics inside the application

    def test_there_is_no_metrics_view_unless_asked_for(self) -> None:
        """The application's address space is its own."""
        assert self.client()("/metrics").status == 404

    def test_the_metrics_view_shows_the_metrics(self) -> None:
        """`metrics_path` serves the text format, and does not count its own scrapes."""
        call = self.client(metrics_path=METRICS_PATH)
        call("/plain")

        answer = call(METRICS_PATH)

        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert b"gunicorn_requests_total{" in answer.body
        assert moved(lambda: call(METRICS_PATH), "gunicorn_requests_total") == 0

    def test_the_metrics_view_negotiates(self) -> None:
        """A scraper that asks for OpenMetrics gets it."""
        answer = self.client(metrics_path=METRICS_PATH)(METRICS_PATH, headers=ACCEPT_OPENMETRICS)

        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.body.endswith(b"# EOF\n")

    def test_the_metrics_view_filters_by_name(self) -> None:
        """`name[]` limits the answer to what it names, as on the metrics port."""
        call = self.client(metrics_path=METRICS_PATH)
        call("/plain")

        body = call(METRICS_PATH + "?name[]=gunicorn_requests_total").body

        assert b"gunicorn_requests_total{" in body
        assert b"gunicorn_request_duration_seconds_bucket" not in body

    def test_the_metrics_view_asks_the_auth_hook(self) -> None:
        """`metrics_auth` gets the request; a false answer is a 403 without metrics."""
        seen: list[object] = []

        def refuse(request: object) -> bool:
            seen.append(request)
            return False

        answer = self.client(metrics_path=METRICS_PATH, metrics_auth=refuse)(METRICS_PATH)

        assert answer.status == 403
        assert b"gunicorn_" not in answer.body
        assert len(seen) == 1
        allowed = self.client(metrics_path=METRICS_PATH, metrics_auth=lambda request: True)
        assert allowed(METRICS_PATH).status == 200
