"""The directory and the memory file, as storages."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gunicorn_prometheus_exporter.storage.files import FileVolume
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from tests.conformance.storage import StorageConformance, attached, counter
from tests.support.samples import Samples


class TestDirectory(StorageConformance):
    """A directory with a file per slot and per arena."""

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def volume(self) -> FileVolume:
        return FileVolume(str(self.path))

    def test_a_stock_collector_reads_what_is_written(self) -> None:
        volume = self.volume()
        store = attached(volume)
        counter(store, path='a "quoted" pâth').add(3)
        store.cell("gauge_livesum", b'["g", "g", {}, "A gauge."]').set(4)
        registry = CollectorRegistry()

        MultiProcessCollector(registry, path=volume.path)

        samples = Samples(generate_latest(registry).decode())
        assert samples.value("hits_total", path='a "quoted" pâth') == 3
        assert samples.value("g") == 4


class TestMemory(StorageConformance):
    """One anonymous memory file."""

    def volume(self) -> MemoryVolume:
        return MemoryVolume.create()
