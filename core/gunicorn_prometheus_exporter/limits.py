"""The hard cap on the series of each labelled metric.

Labels come from requests and from applications, and some are hostile. Beyond the cap all further
label values of a metric share one series whose labels are all `<other>`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gunicorn_prometheus_exporter.storage.contract import KINDS
from gunicorn_prometheus_exporter.storage.layout import CorruptArenaError, decode_key
from gunicorn_prometheus_exporter.storage.store import Store

OTHER = "<other>"
"""The value of every label of the series that takes what is beyond the cap."""

Labels = tuple[tuple[str, str], ...]
"""The labels of a series as sorted pairs, without the `le` of histogram buckets."""


class SeriesLimit:
    """Knows the label sets in use, for each family of metrics that this process writes."""

    def __init__(self, maximum: int) -> None:
        """Allow `maximum` series per family."""
        self.maximum = maximum
        self._known: dict[str, set[Labels]] = {}

    def learn(self, store: Store) -> None:
        """Count what the slot of `store` holds already: its former owners' series stay exposed."""
        for kind in KINDS:
            for key in store.keys(kind):
                try:
                    series = decode_key(key)
                except CorruptArenaError:
                    continue
                labels = tuple(pair for pair in series.labels if pair[0] != "le")
                self.known(series.family).add(labels)

    def admits(self, family: str, labels: Mapping[str, str]) -> bool:
        """Return whether `family` may have a series with these labels, and remember it if so."""
        pairs = tuple(sorted(labels.items()))
        known = self.known(family)
        if pairs in known:
            return True
        if len(known) >= self.maximum:
            return False
        known.add(pairs)
        return True

    def known(self, family: str) -> set[Labels]:
        """Return the label sets of `family` that are in use."""
        return self._known.setdefault(family, set())
