"""Turns the metrics of the catalogue into cells: what a counter, gauge or histogram writes to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from gunicorn_prometheus_exporter.limits import OTHER, SeriesLimit
from gunicorn_prometheus_exporter.metrics import SERIES_FOLDED, Metric
from gunicorn_prometheus_exporter.storage.layout import encode_key, format_float
from gunicorn_prometheus_exporter.storage.store import HAS_GIL, Cell, Store


class Histogram:
    """The cells of one histogram series; `bounds` are the buckets' upper ends, without +Inf."""

    __slots__ = ("_bounds", "_buckets", "_sum")

    def __init__(self, bounds: Sequence[float], cells: Sequence[Cell]) -> None:
        """Observe into `cells`: one per bucket, one for +Inf, one for the sum."""
        self._bounds = bounds
        *self._buckets, self._sum = cells

    def observe(self, value: float) -> None:
        """Count `value` in its bucket."""
        # What Cell.add() does, without the call: every request observes four times.
        doubles, index = self._buckets[bisect_left(self._bounds, value)].at
        doubles[index] += 1.0
        if value:
            doubles, index = self._sum.at
            doubles[index] += value


class _LockedHistogram(Histogram):
    """A histogram for interpreters without a global lock."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        self._buckets[bisect_left(self._bounds, value)].add(1.0)
        self._sum.add(value)


_new_histogram = Histogram if HAS_GIL else _LockedHistogram


class Instruments:
    """Hands out the cells of the catalogue's metrics in one store, within the cap on series."""

    def __init__(self, store: Store, limit: SeriesLimit) -> None:
        """Write to `store`; `limit` is shared by all that write to it."""
        self.store = store
        self.limit = limit

    def counter(self, metric: Metric, labels: Mapping[str, str]) -> Cell:
        """Return the cell of one series of a counter."""
        return self._single("counter", metric, self.bounded(metric.family, labels))

    def gauge(self, metric: Metric, labels: Mapping[str, str], mode: str = "livesum") -> Cell:
        """Return the cell of one series of a gauge, merged over processes by `mode`."""
        return self._single(f"gauge_{mode}", metric, labels)

    def histogram(
        self, metric: Metric, labels: Mapping[str, str], bounds: Sequence[float] = ()
    ) -> Histogram:
        """Return one series of a histogram, with the metric's own buckets unless given others."""
        labels = self.bounded(metric.family, labels)
        bounds = bounds or metric.buckets
        name, help_text = metric.name, metric.help
        keys = [
            encode_key(name, f"{name}_bucket", {**labels, "le": format_float(bound)}, help_text)
            for bound in (*bounds, float("inf"))
        ]
        keys.append(encode_key(name, f"{name}_sum", labels, help_text))
        return _new_histogram(bounds, self.store.cells("histogram", keys))

    def bounded(self, family: str, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Return `labels`, or those of the overflow series (and count it) beyond the cap."""
        if self.limit.admits(family, labels):
            return labels
        self.count_folded(family)
        return dict.fromkeys(labels, OTHER)

    def count_folded(self, family: str) -> None:
        """Count that a series of `family` was beyond the cap."""
        self._single("counter", SERIES_FOLDED, {"metric": family}).add(1.0)

    def _single(self, kind: str, metric: Metric, labels: Mapping[str, str]) -> Cell:
        key = encode_key(metric.family, metric.sample, labels, metric.help)
        return self.store.cell(kind, key)
