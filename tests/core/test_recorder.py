"""What is recorded of one request, and that nothing of it ever reaches the request."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from gunicorn_prometheus_exporter import metrics as m
from gunicorn_prometheus_exporter.instruments import Instruments
from gunicorn_prometheus_exporter.limits import OTHER, SeriesLimit
from gunicorn_prometheus_exporter.recorder import Recorder
from gunicorn_prometheus_exporter.route import UNMATCHED, Policy, Route
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.store import Store
from tests.support.recording import Recording

REQUESTS = "gunicorn_requests_total"
EXCEPTIONS = "gunicorn_request_exceptions_total"
FAILED = "gunicorn_worker_failed_requests_total"
ERRORS = "gunicorn_worker_error_handling_total"
FAULTS = "gunicorn_exporter_recorder_errors_total"


def route(endpoint: str | None = None, **fields: object) -> Route:
    """Return a route as an adapter fills it in."""
    made = Route()
    made.endpoint = endpoint
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def recording() -> Recording:
    """A recorder with the default settings."""
    return Recording()


def test_a_worker_is_exposed_before_its_first_request(recording: Recording) -> None:
    samples = recording.scrape()

    for name in (m.WORKER_REQUESTS.sample, m.WORKER_IN_PROGRESS.name, FAULTS):
        assert name in samples
        assert samples.sum(name) == 0


def test_a_request_is_recorded_once_in_every_metric(recording: Recording) -> None:
    recording.request(request_bytes=2000, response_bytes=5, ago=0.3)

    samples = recording.scrape()
    assert samples.value(REQUESTS, method="GET", endpoint="/hello", status="200") == 1
    assert samples.value("gunicorn_worker_requests_total", worker_id="0") == 1
    for name, total, below, above in (
        ("gunicorn_worker_request_duration_seconds", 0.3, "0.1", "0.5"),
        ("gunicorn_worker_request_size_bytes", 2000, "1024.0", "4096.0"),
        ("gunicorn_worker_response_size_bytes", 5, "", "1024.0"),
    ):
        assert samples.sum(f"{name}_count") == 1
        assert samples.sum(f"{name}_sum") == pytest.approx(total, abs=0.05)
        assert samples.sum(f"{name}_bucket", le=below) == 0
        assert samples.sum(f"{name}_bucket", le=above) == 1
    duration = "gunicorn_request_duration_seconds"
    assert samples.sum(f"{duration}_count", method="GET", endpoint="/hello") == 1
    assert samples.sum(f"{duration}_bucket", le="0.25") == 0
    assert samples.sum(f"{duration}_bucket", le="0.5") == 1


def test_a_request_is_in_progress_from_its_begin_to_its_end(recording: Recording) -> None:
    name = m.WORKER_IN_PROGRESS.name

    started = recording.recorder.begin()
    recording.recorder.begin()
    two = recording.scrape().sum(name)
    recording.recorder.abandon()
    one = recording.scrape().sum(name)
    recording.recorder.end(
        started, method="GET", status=200, path="/", request_bytes=0, response_bytes=0
    )

    assert (two, one, recording.scrape().sum(name)) == (2, 1, 0)
    assert recording.scrape().sum(REQUESTS) == 1


@pytest.mark.parametrize("method", ["BREW", "get", "", "PROPFIND"])
def test_methods_that_are_not_standard_are_other_in_every_metric(
    recording: Recording, method: str
) -> None:
    recording.request(method=method, exception=ValueError(), escaped=True)

    samples = recording.scrape()
    for name in (REQUESTS, EXCEPTIONS, FAILED, ERRORS, "gunicorn_request_duration_seconds_count"):
        assert samples.label_values(name, "method") == {"OTHER"}


def test_the_route_names_the_request(recording: Recording) -> None:
    recording.request("/users/17", route=route("/users/<int:id>"))
    recording.request("/users/18", status=404, route=route("/users/<int:id>"))
    recording.request("/users/19", route=route())

    samples = recording.scrape()
    assert samples.sum(REQUESTS, endpoint="/users/<int:id>") == 2
    assert samples.sum(REQUESTS, endpoint="/users/:id") == 1


def test_an_excluded_request_leaves_no_trace(recording: Recording) -> None:
    recording.request(route=route("/healthz", excluded=True), exception=ValueError())

    samples = recording.scrape()
    assert REQUESTS not in samples
    assert EXCEPTIONS not in samples
    assert {one.value for one in samples if one.name.startswith("gunicorn_worker_request")} == {0}


def test_extra_labels_and_grouped_statuses_are_the_policy_of_the_application(
    recording: Recording,
) -> None:
    policy = Policy(buckets=(1.0, 2.0), group_status=True)
    labels = (("tenant", "acme"),)

    recording.request(status=204, route=route("/x", labels=labels, policy=policy), ago=1.5)

    samples = recording.scrape()
    assert [dict(one.labels) for one in samples.series(REQUESTS)] == [
        {"method": "GET", "endpoint": "/x", "status": "2xx", "tenant": "acme"}
    ]
    buckets = samples.series("gunicorn_request_duration_seconds_bucket")
    assert {one.labels["le"]: one.value for one in buckets} == {"1.0": 0, "2.0": 1, "+Inf": 1}


def test_what_the_application_raised_is_told_by_the_route_or_the_worker(
    recording: Recording,
) -> None:
    swallowed = route("/x", exception=KeyError("swallowed"))
    recording.request(status=500, route=swallowed, exception=OSError("what the server made of it"))
    recording.request(status=500, exception=ValueError(), escaped=True)

    samples = recording.scrape()
    found = {
        name: {(one.labels["endpoint"], one.labels["error_type"]) for one in samples.series(name)}
        for name in (EXCEPTIONS, FAILED, ERRORS)
    }
    both = {("/x", "KeyError"), ("/hello", "ValueError")}
    assert found == {EXCEPTIONS: both, FAILED: both, ERRORS: {("/hello", "ValueError")}}


def test_what_is_raised_after_the_answer_counts_once(recording: Recording) -> None:
    told = route("/x", exception=KeyError())

    recording.recorder.raised("GET", 500, "/x", route("/x"), KeyError())
    recording.recorder.raised("GET", 500, "/x", told, KeyError())
    recording.recorder.raised("GET", 500, "/x", route("/x", excluded=True), KeyError())

    samples = recording.scrape()
    assert samples.sum(EXCEPTIONS) == samples.sum(FAILED) == 1
    assert samples.sum(REQUESTS) == 0


def test_what_never_became_a_request_has_no_duration(recording: Recording) -> None:
    recording.recorder.rejected(414, "LimitRequestLine")

    samples = recording.scrape()
    assert samples.value(REQUESTS, method="OTHER", endpoint=UNMATCHED, status="414") == 1
    assert samples.sum(ERRORS, error_type="LimitRequestLine") == 1
    assert samples.sum("gunicorn_worker_requests_total") == 1
    assert samples.sum("gunicorn_request_duration_seconds_count") == 0
    assert samples.sum(EXCEPTIONS) == 0


def test_series_beyond_the_cap_are_folded_into_one_and_counted() -> None:
    recording = Recording(max_series=5)

    for number in range(50):
        recording.request(route=route(f"/page{number}"), exception=ValueError(), status=500)

    samples = recording.scrape()
    assert samples.sum(REQUESTS) == samples.sum(EXCEPTIONS) == 50
    assert len(samples.series(REQUESTS)) == len(samples.series(EXCEPTIONS)) == 6
    assert samples.sum(REQUESTS, endpoint=OTHER) == 45
    folded = "gunicorn_exporter_series_folded_total"
    assert samples.sum(folded, metric="gunicorn_requests") == 45


def test_a_successor_counts_its_predecessors_names_against_the_cap() -> None:
    """The series of a slot stay exposed when its worker is replaced."""
    settings = Settings(max_endpoints=2)
    limit = SeriesLimit(1000)
    store = Store()
    first = Recorder(Instruments(store, limit), settings, "0")
    for path in ("/a", "/b", "/c"):
        first.end(
            first.begin(), method="GET", status=200, path=path, request_bytes=0, response_bytes=0
        )

    second = Recorder(Instruments(store, limit), settings, "0")
    second.end(
        second.begin(), method="GET", status=200, path="/d", request_bytes=0, response_bytes=0
    )

    names = {dict(labels)["endpoint"] for labels in limit.known(m.REQUESTS.family)}
    assert names == {"/a", "/b", OTHER}


def test_a_fault_is_counted_and_reported_once_and_goes_no_further(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    broken = route("/x", labels=("not", "pairs", "at all"))

    with caplog.at_level(logging.ERROR, logger="gunicorn_prometheus_exporter"):
        recording.request(route=broken)
        recording.request(route=broken)
    recording.request()

    samples = recording.scrape()
    assert samples.sum(FAULTS) == 2
    assert len(caplog.records) == 1
    assert samples.sum(m.WORKER_IN_PROGRESS.name) == 0
    assert samples.sum(REQUESTS) == samples.sum("gunicorn_worker_requests_total") == 1


def test_threads_lose_no_request(recording: Recording) -> None:
    def ask() -> None:
        for _ in range(5000):
            recording.request("/x")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    samples = recording.scrape()
    assert samples.sum(REQUESTS) == samples.sum("gunicorn_worker_requests_total") == 20_000
    assert samples.sum("gunicorn_request_duration_seconds_count") == 20_000
    assert samples.sum(m.WORKER_IN_PROGRESS.name) == 0


def test_begin_returns_when(recording: Recording) -> None:
    before = time.perf_counter()

    started = recording.recorder.begin()

    assert before <= started <= time.perf_counter()
