"""The helpers that users assert metrics with."""

from __future__ import annotations

import pytest
from prometheus_client import Counter, Gauge, Histogram

from gunicorn_prometheus_exporter.inprocess import expose
from gunicorn_prometheus_exporter.recorder import local_recorder
from gunicorn_prometheus_exporter.testing import metric_delta, sample_value, samples

COUNTER = Counter("testing_things_total", "Things.", ["kind"])
GAUGE = Gauge("testing_level", "A level.")
HISTOGRAM = Histogram("testing_seconds", "Durations.", buckets=(1, 2))


def fall() -> None:
    """Let the level fall, and fail."""
    GAUGE.set(2)
    raise LookupError


def record(endpoint_path: str, status: int = 200) -> None:
    """Record one request, as an adapter does."""
    recorder = local_recorder()
    recorder.end(
        recorder.begin(),
        method="GET",
        status=status,
        path=endpoint_path,
        request_bytes=0,
        response_bytes=0,
    )


def test_a_delta_is_what_moved_inside_the_block() -> None:
    """What came before does not matter."""
    COUNTER.labels("old").inc(5)

    with metric_delta("testing_things_total", kind="old") as delta:
        COUNTER.labels("old").inc(2)
        assert delta.value == 0
    COUNTER.labels("old").inc(1)

    assert delta.value == 2


def test_a_series_that_did_not_exist_moves_from_zero() -> None:
    """The first request of an endpoint counts too."""
    with metric_delta("testing_things_total", kind="new") as delta:
        COUNTER.labels("new").inc()

    assert delta.value == 1


def test_labels_that_are_not_given_are_summed() -> None:
    """And those that are given have to match."""
    COUNTER.labels("a").inc(1)
    with (
        metric_delta("testing_things_total") as every,
        metric_delta("testing_things_total", kind="b") as one,
    ):
        COUNTER.labels("a").inc(3)
        COUNTER.labels("b").inc(4)

    assert every.value == 7
    assert one.value == 4


def test_a_delta_can_be_negative_and_survives_a_failure() -> None:
    """A gauge falls; a block that raises has moved it all the same."""
    GAUGE.set(5)

    with pytest.raises(LookupError), metric_delta("testing_level") as delta:
        fall()

    assert delta.value == -3


def test_histograms_are_seen_through_their_samples() -> None:
    """`_count`, `_sum` and `_bucket`, as on the wire."""
    with (
        metric_delta("testing_seconds_count") as count,
        metric_delta("testing_seconds_sum") as total,
        metric_delta("testing_seconds_bucket", le="1.0") as fast,
    ):
        HISTOGRAM.observe(0.5)
        HISTOGRAM.observe(1.5)

    assert (count.value, total.value, fast.value) == (2, 2, 1)


def test_our_own_metrics_are_seen() -> None:
    """Those of requests, without gunicorn."""
    with (
        metric_delta("gunicorn_requests_total", endpoint="/seen") as requests,
        metric_delta("gunicorn_requests_total", endpoint="/seen", status="404") as absent,
    ):
        record("/seen")

    assert (requests.value, absent.value) == (1, 0)


def test_a_sample_carries_what_the_wire_says() -> None:
    """Name, labels and value."""
    COUNTER.labels("seen").inc(3)

    (sample,) = samples("testing_things_total", kind="seen")

    assert sample.labels == {"kind": "seen"}
    assert f'testing_things_total{{kind="seen"}} {sample.value}' in expose("")[1].decode()


def test_a_metric_that_does_not_exist_is_zero() -> None:
    """So that a first request can be waited for."""
    assert sample_value("testing_no_such_metric") == 0
    assert samples("testing_things_total", kind="no such kind") == []
