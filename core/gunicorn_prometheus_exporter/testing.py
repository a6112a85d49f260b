"""For tests of applications: what the metrics of this process say, and by how much they move.

    from gunicorn_prometheus_exporter.testing import metric_delta

    def test_orders_are_counted(client):
        with metric_delta("gunicorn_requests_total", endpoint="/orders", status="200") as delta:
            client.get("/orders")

        assert delta.value == 1

It works with every test client, with our metrics and with those of the application, and needs
neither gunicorn nor a fresh registry: only differences count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from gunicorn_prometheus_exporter.inprocess import expose


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(slots=True)
class Delta:
    """By how much a metric moved inside a `with` block; 0.0 while the block runs."""

    value: float = 0.0


def samples(name: str, /, **labels: str) -> list[Sample]:
    """Return the samples called `name`, as the text format has it, with at least these labels."""
    _, body = expose("text/plain")
    wanted = labels.items()
    return [
        Sample(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name == name and wanted <= sample.labels.items()
    ]


def sample_value(name: str, /, **labels: str) -> float:
    """Return the sum of the samples called `name` with at least these labels; 0.0 for none.

    A counter's sample ends in `_total`; a histogram has `_count`, `_sum` and `_bucket`.
    """
    return sum(sample.value for sample in samples(name, **labels))


@contextmanager
def metric_delta(name: str, /, **labels: str) -> Iterator[Delta]:
    """Yield a `Delta`, whose value after the block is how much the sum of these samples moved."""
    delta = Delta()
    before = sample_value(name, **labels)
    try:
        yield delta
    finally:
        delta.value = sample_value(name, **labels) - before
