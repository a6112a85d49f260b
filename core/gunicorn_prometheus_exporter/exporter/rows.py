"""Samples that are made when somebody scrapes, given as blocks like those of an arena."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gunicorn_prometheus_exporter.metrics import Metric
from gunicorn_prometheus_exporter.storage.blocks import Block, Layout
from gunicorn_prometheus_exporter.storage.layout import Series


class Row(NamedTuple):
    """One sample that is made when it is asked for."""

    family: str
    sample: str
    labels: Mapping[str, str]
    help: str
    value: float


def row(metric: Metric, value: float, *labels: str) -> Row:
    """Return a sample of a metric of the catalogue, with label values in the order of its names."""
    return Row(metric.family, metric.sample, metric.labelled(*labels), metric.help, value)


@functools.lru_cache(maxsize=64)
def _layout_of(series: tuple[Series, ...]) -> Layout:
    return Layout(series)


def synthetic_block(kind: str, owner: str, rows: Iterable[Row]) -> Block:
    """Return a live block of `rows`, with the same layout as the last one of the same series."""
    rows = list(rows)
    series = tuple(
        Series(row.family, row.sample, tuple(sorted(row.labels.items())), row.help) for row in rows
    )
    return Block(kind, owner, True, _layout_of(series), [float(row.value) for row in rows], ())
