"""Everything together, as the endpoint gets it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gunicorn_prometheus_exporter.exporter.rows import Row, synthetic_block
from gunicorn_prometheus_exporter.exporter.source import MetricsSource
from gunicorn_prometheus_exporter.storage.files import FileVolume
from gunicorn_prometheus_exporter.storage.slots import claim
from tests.core.stock import write_file
from tests.support.samples import Samples


@pytest.fixture
def source(tmp_path: Path) -> MetricsSource:
    """A source with one counter and, next to it, one file of garbage."""
    write_file(tmp_path / "counter_0.db", [("c", "c_total", {}, 1.0, 0.0)])
    return MetricsSource(FileVolume(str(tmp_path)))


def scrape(source: MetricsSource, *names: str) -> Samples:
    return Samples(source.render(openmetrics=False, names=frozenset(names)).decode())


def test_metrics_about_the_exporter_are_there_before_anything_happens(
    source: MetricsSource,
) -> None:
    samples = scrape(source)
    duration = "gunicorn_exporter_scrape_duration_seconds"

    for name in (
        "gunicorn_exporter_scrapes_total",
        "gunicorn_exporter_scrape_errors_total",
        "gunicorn_exporter_skipped_files",
        f"{duration}_count",
        f"{duration}_sum",
    ):
        assert samples.value(name, default=-1.0) == 0.0
    assert samples.value(f"{duration}_bucket", le="+Inf", default=-1.0) == 0.0


def test_scrapes_are_counted_and_timed(source: MetricsSource, tmp_path: Path) -> None:
    for seconds in (0.001, 0.004, 60.0):
        source.self_metrics.observe(seconds)
    source.self_metrics.failed()
    (tmp_path / "counter_1.db").write_bytes(b"garbage")
    samples = scrape(source)
    duration = "gunicorn_exporter_scrape_duration_seconds"

    assert samples.value("gunicorn_exporter_scrapes_total") == 4.0
    assert samples.value("gunicorn_exporter_scrape_errors_total") == 1.0
    assert samples.value("gunicorn_exporter_skipped_files") == 1.0
    assert samples.value(f"{duration}_sum") == pytest.approx(60.005)
    buckets = {one.labels["le"]: one.value for one in samples.series(f"{duration}_bucket")}
    assert buckets["0.001"] == 1.0
    assert buckets["0.0025"] == 1.0
    assert buckets["0.005"] == 2.0
    assert buckets["+Inf"] == samples.value(f"{duration}_count") == 3.0


def test_arenas_workers_and_providers_come_together(source: MetricsSource, tmp_path: Path) -> None:
    slot = claim(FileVolume(str(tmp_path)), "worker")
    rows = [Row("remote", "remote_total", {"instance": "x"}, "Help.", 5)]
    source.providers.append(lambda: [synthetic_block("counter", "other", rows)])
    samples = scrape(source)
    slot.release()

    assert samples.value("c_total") == 1.0
    assert samples.value("gunicorn_workers") == 1.0
    assert samples.value("remote_total", instance="x") == 5.0
    assert "other" not in {block.owner for block in source.local_blocks()}


def test_a_second_reader_leaves_the_workers_to_the_first(tmp_path: Path) -> None:
    """Two samplers would both keep the CPU time of former workers in the slots."""
    volume = FileVolume(str(tmp_path))
    slot = claim(volume, "worker")
    samples = scrape(MetricsSource(volume, sample_workers=False))
    slot.release()

    assert "gunicorn_workers" not in samples
    assert "gunicorn_exporter_scrapes_total" in samples


def test_a_filter_applies_to_all_of_them(source: MetricsSource) -> None:
    assert scrape(source, "c_total", "gunicorn_workers").names() == {"c_total", "gunicorn_workers"}


def test_the_same_rows_have_the_same_layout() -> None:
    """Else each scrape would plan its merge anew."""
    first, second = (
        synthetic_block("counter", "x", [Row("c", "c_total", {"b": "1", "a": str(1)}, "", value)])
        for value in (1, 2)
    )

    assert first.layout is second.layout
    assert (first.values, second.values) == ([1.0], [2.0])


def test_concurrent_scrapes_take_turns(source: MetricsSource, tmp_path: Path) -> None:
    """While the file between them is replaced over and over, none shows less than all of it."""
    stop = threading.Event()
    failures: list[str] = []

    def scrape_on() -> None:
        while not stop.is_set():
            text = source.render(openmetrics=False, names=frozenset(["c"])).decode()
            if text.splitlines()[2:] not in (["c_total 1.0"], ["c_total 7.0", "d_total 1.0"]):
                failures.append(text)

    cells = {1: [("c", "c_total", {}, 1.0, 0.0)], 7: [("c", "c_total", {}, 7.0, 0.0)]}
    cells[7] += [("c", "d_total", {}, 1.0, 0.0)]
    for value, listed in cells.items():
        write_file(tmp_path / f"new_{value}", listed)
    threads = [threading.Thread(target=scrape_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(100):
        os.link(tmp_path / f"new_{(1, 7)[turn % 2]}", tmp_path / "linked")
        os.rename(tmp_path / "linked", tmp_path / "counter_0.db")
        source.render(openmetrics=False, names=frozenset())
    stop.set()
    for thread in threads:
        thread.join()

    assert failures == []
