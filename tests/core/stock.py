"""prometheus_client's own writing, merging and rendering: what the exposition is compared with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics

from gunicorn_prometheus_exporter.exporter.exposition import Exposition
from gunicorn_prometheus_exporter.storage.files import FileVolume
from gunicorn_prometheus_exporter.storage.reader import Reader


@contextlib.contextmanager
def process(folder: Path, owner: str) -> Iterator[CollectorRegistry]:
    """Let metrics made in the block write to `folder` as the process `owner` would."""
    value_class, variable = values.ValueClass, os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: owner)
    try:
        yield CollectorRegistry()
    finally:
        values.ValueClass.close_all_files()
        values.ValueClass = value_class
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        if variable is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = variable


Cell = tuple[str, str, dict[str, str], float, float]
"""Family, sample, labels, value, timestamp."""


def write_file(path: Path, cells: Iterable[Cell], help_text: str = "Help.") -> None:
    """Add `cells` to the file at `path`."""
    file = MmapedDict(str(path))
    for family, sample, labels, value, timestamp in cells:
        key = mmap_key(family, sample, list(labels), list(labels.values()), help_text)
        file.write_value(key, value, timestamp)
    file.close()


class _Collected:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


Encoder = Callable[[_Collected], bytes]
ENCODERS: dict[bool, Encoder] = {False: generate_latest, True: openmetrics.generate_latest}


def stock_text(
    folder: Path, *, openmetrics: bool = False, names: Sequence[str] = (), live: Sequence[str] = ()
) -> str:
    """Return what prometheus_client exposes of `folder`, reading files in the order we do.

    Files of `live` gauges count of the owners in `live` alone, as if those of others were deleted.
    """
    arenas = FileVolume(str(folder)).arenas()
    files = [
        str(folder / f"{kind}_{owner}.db")
        for kind, owner in arenas
        if owner in live or not kind.startswith("gauge_live")
    ]
    metrics = list(MultiProcessCollector.merge(files))
    if names:
        restricted = [metric._restricted_metric(set(names)) for metric in metrics]
        metrics = [metric for metric in restricted if metric is not None]
    return ENCODERS[openmetrics](_Collected(metrics)).decode()


def our_text(folder: Path, *, openmetrics: bool = False, names: Sequence[str] = ()) -> str:
    """Return what we expose of `folder`."""
    blocks = Reader(FileVolume(str(folder))).read()
    exposition = Exposition()
    return exposition.render(blocks, openmetrics=openmetrics, names=frozenset(names)).decode()


def lines(text: str) -> list[str]:
    """Return the lines of `text` in an order that does not depend on that of the metrics."""
    return sorted(text.split("\n"))
