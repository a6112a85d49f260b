"""The application's own prometheus_client metrics, written to shared memory.

prometheus_client asks its *value class* for the storage of each sample; ours keeps samples in the
cells of this process. It has to be installed before the application makes its metrics.
Source: prometheus_client.values, versions 0.20 to 0.26.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from gunicorn_prometheus_exporter.instruments import Instruments
from gunicorn_prometheus_exporter.limits import OTHER
from gunicorn_prometheus_exporter.storage.layout import encode_key
from gunicorn_prometheus_exporter.storage.store import Cell


def install(instruments: Instruments) -> None:
    """Make every prometheus_client metric that is created from now on write to `instruments`."""
    from prometheus_client import values

    class SharedValue(_SharedValue):
        _instruments = instruments

    values.ValueClass = SharedValue


class _SharedValue:
    """One sample, with the interface of prometheus_client's own value classes."""

    _multiprocess = True
    _instruments: Instruments

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
        **_: Any,
    ) -> None:
        """Find the cell of the sample `name` with these labels."""
        kind = f"gauge_{multiprocess_mode}" if typ == "gauge" else typ
        labels = dict(zip(labelnames, labelvalues, strict=True))
        self._cell = self._find(kind, metric_name, name, labels, help_text)

    def _find(
        self, kind: str, family: str, name: str, labels: dict[str, str], help_text: str
    ) -> Cell:
        bucket = {"le": labels.pop("le")} if kind == "histogram" and "le" in labels else {}
        if not self._instruments.limit.admits(family, labels):
            self._instruments.count_folded(family)
            if kind.startswith("gauge_"):
                return Cell()  # a sum of unrelated gauges would be a wrong number: show none
            labels = dict.fromkeys(labels, OTHER)
        key = encode_key(family, name, {**labels, **bucket}, help_text)
        return self._instruments.store.cell(kind, key)

    def inc(self, amount: float) -> None:
        """Add `amount` to the sample."""
        self._cell.add(amount)

    def set(self, value: float, timestamp: float | None = None) -> None:
        """Replace the sample; `timestamp` is a Unix time in seconds."""
        self._cell.set(value, timestamp or 0.0)

    def get(self) -> float:
        """Return what this process (and its slot's former owners) made of the sample."""
        return self._cell.get()

    def set_exemplar(self, exemplar: Any) -> None:
        """Ignore the exemplar: shared memory has no place for it, as in multiprocess mode."""

    def get_exemplar(self) -> None:
        """Return None: no exemplars are kept."""


def metrics_made_too_early() -> list[str]:
    """Return the names of metrics in the default registry that live in this process alone.

    They were made before our value class was installed, by a configuration file that imports the
    application, for instance.
    """
    if "prometheus_client" not in sys.modules:
        return []
    from prometheus_client import REGISTRY, values
    from prometheus_client.metrics import MetricWrapperBase

    return sorted(
        collector._name
        for collector in set(REGISTRY._collector_to_names)
        if isinstance(collector, MetricWrapperBase) and _holds(collector, values.MutexValue)
    )


def _holds(metric: Any, value_class: type) -> bool:
    if any(isinstance(value, value_class) for value in vars(metric).values()):
        return True
    children = vars(metric).get("_metrics", {}).values()
    return any(_holds(child, value_class) for child in children)
