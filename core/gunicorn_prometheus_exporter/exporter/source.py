"""Where the metrics of the endpoint come from: arenas, samplers and whoever else provides any."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gunicorn_prometheus_exporter.exporter.exposition import Exposition
from gunicorn_prometheus_exporter.exporter.process_stats import WorkerSampler
from gunicorn_prometheus_exporter.exporter.self_metrics import SelfMetrics
from gunicorn_prometheus_exporter.storage.blocks import Block
from gunicorn_prometheus_exporter.storage.contract import Volume
from gunicorn_prometheus_exporter.storage.reader import Reader

BlockProvider = Callable[[], list[Block]]


class MetricsSource:
    """Renders everything in `volume`, and about its workers, and from `providers`.

    Safe to be called by several threads, which take turns.
    """

    def __init__(self, volume: Volume, *, sample_workers: bool = True) -> None:
        """Prepare to read; nothing is opened before the first scrape.

        sample_workers: sample the worker processes too, which only one reader of a volume may do.
        """
        self.self_metrics = SelfMetrics()
        self.providers: list[BlockProvider] = []
        """Called at each scrape for further blocks; they must not raise."""
        self._reader = Reader(volume)
        self._workers = WorkerSampler(volume) if sample_workers else None
        self._exposition = Exposition()
        self._lock = threading.Lock()

    def render(self, *, openmetrics: bool, names: frozenset[str]) -> bytes:
        """Return the exposition of all metrics, or of those called `names` if there are any."""
        with self._lock:
            blocks = self._local_blocks() + self._exporter_blocks()
            return self._exposition.render(blocks, openmetrics=openmetrics, names=names)

    def local_blocks(self) -> list[Block]:
        """Return what this instance measures, as it is now."""
        with self._lock:
            return self._local_blocks()

    def exporter_blocks(self) -> list[Block]:
        """Return what this process says of itself, and what the providers provide."""
        with self._lock:
            return self._exporter_blocks()

    def _local_blocks(self) -> list[Block]:
        blocks = self._reader.read()
        if self._workers is not None:
            blocks += self._workers.blocks()
        return blocks

    def _exporter_blocks(self) -> list[Block]:
        blocks = self.self_metrics.blocks(self._reader.skipped)
        for provide in self.providers:
            blocks += provide()
        return blocks
