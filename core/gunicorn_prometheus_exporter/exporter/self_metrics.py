"""The exporter's metrics about itself. All are there from the start, at 0."""

from __future__ import annotations

import bisect
import threading

from gunicorn_prometheus_exporter.exporter.process_stats import GAUGE, OWNER
from gunicorn_prometheus_exporter.exporter.rows import Row, row, synthetic_block
from gunicorn_prometheus_exporter.exporter.text import go_float
from gunicorn_prometheus_exporter.metrics import Metric
from gunicorn_prometheus_exporter.storage.blocks import Block

SCRAPE_DURATION = Metric(
    "gunicorn_exporter_scrape_duration_seconds", "histogram", (),
    "Time to read, merge and render the metrics for one scrape.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5),
)  # fmt: skip
SCRAPES = Metric("gunicorn_exporter_scrapes_total", "counter", (), "Scrapes, failed ones included.")
SCRAPE_ERRORS = Metric(
    "gunicorn_exporter_scrape_errors_total", "counter", (), "Scrapes that failed."
)
SKIPPED_FILES = Metric(
    "gunicorn_exporter_skipped_files", "gauge", (),
    "Metric files that could not be read by this scrape: empty, cut off, garbage or gone.",
)  # fmt: skip


class SelfMetrics:
    """Counts scrapes; safe to be called by several threads."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._lock = threading.Lock()
        self._buckets = [0] * (len(SCRAPE_DURATION.buckets) + 1)
        self._seconds = 0.0
        self._errors = 0

    def observe(self, seconds: float) -> None:
        """Count a scrape that took `seconds`."""
        with self._lock:
            self._buckets[bisect.bisect_left(SCRAPE_DURATION.buckets, seconds)] += 1
            self._seconds += seconds

    def failed(self) -> None:
        """Count a scrape that failed."""
        with self._lock:
            self._errors += 1

    def blocks(self, skipped: int) -> list[Block]:
        """Return the samples now, with `skipped` files left out of this scrape."""
        with self._lock:
            buckets, seconds, errors = list(self._buckets), self._seconds, self._errors
        counters = [row(SCRAPES, sum(buckets) + errors), row(SCRAPE_ERRORS, errors)]
        return [
            synthetic_block("counter", OWNER, counters),
            synthetic_block("histogram", OWNER, _histogram(buckets, seconds)),
            synthetic_block(GAUGE, OWNER, [row(SKIPPED_FILES, skipped)]),
        ]


def _histogram(buckets: list[int], seconds: float) -> list[Row]:
    """Return the samples of a histogram as they are stored: not cumulative, without a count."""
    metric = SCRAPE_DURATION
    bounds = [*map(go_float, metric.buckets), "+Inf"]
    return [
        Row(metric.name, f"{metric.name}_sum", {}, metric.help, seconds),
        *(
            Row(metric.name, f"{metric.name}_bucket", {"le": bound}, metric.help, count)
            for bound, count in zip(bounds, buckets, strict=True)
        ),
    ]
