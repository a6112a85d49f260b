"""prometheus_client's metrics on our cells."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, values

from gunicorn_prometheus_exporter.instruments import Instruments
from gunicorn_prometheus_exporter.limits import OTHER, SeriesLimit
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.store import Store
from gunicorn_prometheus_exporter.values import install
from tests.conformance.storage import scrape


@pytest.fixture
def volume(monkeypatch: pytest.MonkeyPatch) -> MemoryVolume:
    """Return the memory that new prometheus_client metrics are written to, three series at most."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    volume, store = MemoryVolume.create(), Store()
    install(Instruments(store, SeriesLimit(3)))
    store.attach(volume, "worker", 3)
    return volume


def test_every_type_of_metric_is_written_to_shared_memory(volume: MemoryVolume) -> None:
    registry = CollectorRegistry()
    counter = Counter("c", "A counter.", registry=registry)
    gauge = Gauge("g", "A gauge.", registry=registry, multiprocess_mode="livesum")
    histogram = Histogram("h", "A histogram.", buckets=(1, 2), registry=registry)
    summary = Summary("s", "A summary.", registry=registry)

    counter.inc(2)
    gauge.set(7)
    gauge.dec(3)
    histogram.observe(1.5)
    summary.observe(4)

    shown = scrape(volume)
    assert shown.value("c_total") == 2
    assert shown.value("g") == 4
    assert [shown.value("h_bucket", le=le) for le in ("1.0", "2.0", "+Inf")] == [0, 1, 1]
    assert shown.value("s_sum") == 4
    assert shown.value("s_count") == 1


def test_a_process_still_reads_its_own_values(volume: MemoryVolume) -> None:
    counter = Counter("c", "A counter.", ["kind"], registry=CollectorRegistry())
    counter.labels("a").inc(3)

    (family,) = counter.collect()

    assert [(s.labels, s.value) for s in family.samples if s.name == "c_total"] == [
        ({"kind": "a"}, 3)
    ]


def test_an_exemplar_is_ignored_rather_than_an_error(volume: MemoryVolume) -> None:
    counter = Counter("c", "A counter.", registry=CollectorRegistry())

    counter.inc(1, exemplar={"trace_id": "x"})

    assert scrape(volume).value("c_total") == 1


def test_beyond_the_cap_a_histogram_keeps_its_buckets(volume: MemoryVolume) -> None:
    histogram = Histogram("h", "A histogram.", ["k"], buckets=(1,), registry=CollectorRegistry())

    for n in range(10):
        histogram.labels(str(n)).observe(0.5)

    shown = scrape(volume)
    assert shown.value("h_bucket", k=OTHER, le="1.0") == 7
    assert shown.value("h_count", k=OTHER) == 7
    assert len(shown.series("h_count")) == 4


def test_a_sum_of_unrelated_gauges_is_never_shown(volume: MemoryVolume) -> None:
    gauge = Gauge("g", "A gauge.", ["k"], registry=CollectorRegistry(), multiprocess_mode="max")

    for n in range(10):
        gauge.labels(str(n)).set(n)

    assert {s.labels["k"] for s in scrape(volume).series("g")} == {"0", "1", "2"}


EARLY = """
from prometheus_client import Counter, Histogram
Counter("early", "Made before.")
labelled = Histogram("labelled", "Made before.", ["a"])
labelled.labels("x")
from gunicorn_prometheus_exporter import bootstrap, values
bootstrap.install()
Counter("late", "Made after.")
print(values.metrics_made_too_early())
"""


def test_metrics_that_were_made_too_early_are_found() -> None:
    ran = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "['early', 'labelled']"
