"""The metrics of a process without a worker of ours, and what an in-app metrics view shows.

Under a development server, a test client or another application server there is no shared storage:
then a process keeps what the adapters measure in anonymous memory of its own, which the processes
that it forks share.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from gunicorn_prometheus_exporter.bootstrap import lenient_settings, process_instruments
from gunicorn_prometheus_exporter.exporter.endpoint import OPENMETRICS, TEXT
from gunicorn_prometheus_exporter.exporter.negotiation import prefers_openmetrics
from gunicorn_prometheus_exporter.exporter.source import MetricsSource
from gunicorn_prometheus_exporter.instruments import Instruments
from gunicorn_prometheus_exporter.limits import SeriesLimit
from gunicorn_prometheus_exporter.recorder import Recorder, under_worker
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.store import Store

_END = b"# EOF\n"


class LocalMetrics:
    """What the adapters measure in this process and those that it forks."""

    def __init__(self) -> None:
        """Begin with nothing counted; follows forks from now on."""
        settings = lenient_settings()
        volume = MemoryVolume.create()
        store = Store()
        slot = store.attach(volume, "worker", settings.max_series)
        store.follow_forks(volume, settings.max_series)
        os.register_at_fork(after_in_child=store.after_fork)
        instruments = Instruments(store, SeriesLimit(settings.max_series))
        self.recorder = Recorder(instruments, settings, slot.name)
        self.source = MetricsSource(volume)

    def render(self, *, openmetrics: bool, names: frozenset[str]) -> bytes:
        """Return what was measured, and the application's own prometheus_client metrics."""
        ours = self.source.render(openmetrics=openmetrics, names=names)
        theirs = _default_registry(openmetrics=openmetrics, names=names)
        return (ours.removesuffix(_END) if openmetrics else ours) + theirs


_local: dict[str, LocalMetrics] = {}


def local_metrics() -> LocalMetrics:
    """Return the metrics of this process, made when first asked for."""
    return _local.get("metrics") or _local.setdefault("metrics", LocalMetrics())


def expose(accept: str, names: Sequence[str] = ()) -> tuple[str, bytes]:
    """Return the content type and the body of all metrics that this process can show.

    Under a worker of ours those are the metrics of all workers, but for what the exporter process
    samples itself. Elsewhere they are this process's, with those of prometheus_client's default
    registry.

    accept: the `Accept` header of the request.
    names: only families or samples of these names; all if empty.
    """
    openmetrics = prefers_openmetrics(accept)
    wanted = frozenset(names)
    if under_worker():
        body = _shared_source().render(openmetrics=openmetrics, names=wanted)
    else:
        body = local_metrics().render(openmetrics=openmetrics, names=wanted)
    return (OPENMETRICS if openmetrics else TEXT), body


@functools.cache
def _shared_source() -> MetricsSource:
    volume = process_instruments().store.volume
    return MetricsSource(volume or MemoryVolume.create(), sample_workers=False)


def _default_registry(*, openmetrics: bool, names: frozenset[str]) -> bytes:
    import prometheus_client
    import prometheus_client.openmetrics.exposition as openmetrics_exposition

    registry = prometheus_client.REGISTRY
    selected = registry.restricted_registry(names) if names else registry
    render = (
        openmetrics_exposition.generate_latest if openmetrics else prometheus_client.generate_latest
    )
    return render(selected)
