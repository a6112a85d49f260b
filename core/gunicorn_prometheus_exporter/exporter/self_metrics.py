"""The exporter's metrics about itself. All are there from the start, at 0."""

from __future__ import annotations

import bisect
import threading

from gunicorn_prometheus_exporter import metrics as m
from gunicorn_prometheus_exporter.exporter.process_stats import GAUGE, OWNER
from gunicorn_prometheus_exporter.exporter.rows import Row, row, synthetic_block
from gunicorn_prometheus_exporter.exporter.text import go_float
from gunicorn_prometheus_exporter.storage.blocks import Block


class SelfMetrics:
    """Counts scrapes; safe to be called by several threads."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._lock = threading.Lock()
        self._buckets = [0] * (len(m.SCRAPE_DURATION.buckets) + 1)
        self._seconds = 0.0
        self._errors = 0

    def observe(self, seconds: float) -> None:
        """Count a scrape that took `seconds`."""
        with self._lock:
            self._buckets[bisect.bisect_left(m.SCRAPE_DURATION.buckets, seconds)] += 1
            self._seconds += seconds

    def failed(self) -> None:
        """Count a scrape that failed."""
        with self._lock:
            self._errors += 1

    def blocks(self, skipped: int) -> list[Block]:
        """Return the samples now, with `skipped` files left out of this scrape."""
        with self._lock:
            buckets, seconds, errors = list(self._buckets), self._seconds, self._errors
        counters = [row(m.SCRAPES, sum(buckets) + errors), row(m.SCRAPE_ERRORS, errors)]
        return [
            synthetic_block("counter", OWNER, counters),
            synthetic_block("histogram", OWNER, _histogram(buckets, seconds)),
            synthetic_block(GAUGE, OWNER, [row(m.SKIPPED_FILES, skipped)]),
        ]


def _histogram(buckets: list[int], seconds: float) -> list[Row]:
    """Return the samples of a histogram as they are stored: not cumulative, without a count."""
    metric = m.SCRAPE_DURATION
    bounds = [*map(go_float, metric.buckets), "+Inf"]
    return [
        Row(metric.name, f"{metric.name}_sum", {}, metric.help, seconds),
        *(
            Row(metric.name, f"{metric.name}_bucket", {"le": bound}, metric.help, count)
            for bound, count in zip(bounds, buckets, strict=True)
        ),
    ]
