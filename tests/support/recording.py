"""A recorder without a server, and what a scrape shows of it."""

from __future__ import annotations

from gunicorn_prometheus_exporter.exporter.source import MetricsSource
from gunicorn_prometheus_exporter.instruments import Instruments
from gunicorn_prometheus_exporter.limits import SeriesLimit
from gunicorn_prometheus_exporter.recorder import Recorder
from gunicorn_prometheus_exporter.route import Route
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.store import Store
from tests.support.samples import Samples


class Recording:
    """A recorder on memory of its own."""

    def __init__(self, max_series: int = 1000, settings: Settings | None = None) -> None:
        """Record nothing yet."""
        self._volume = MemoryVolume.create()
        store = Store()
        slot = store.attach(self._volume, "worker", max_series)
        instruments = Instruments(store, SeriesLimit(max_series))
        self.recorder = Recorder(instruments, settings or Settings(), slot.name)

    def request(
        self,
        path: str = "/hello",
        *,
        method: str = "GET",
        status: int = 200,
        request_bytes: int = 0,
        response_bytes: int = 0,
        route: Route | None = None,
        exception: BaseException | None = None,
        escaped: bool = False,
        ago: float = 0.0,
    ) -> None:
        """Record one request that began `ago` seconds ago."""
        self.recorder.end(
            self.recorder.begin() - ago,
            method=method,
            status=status,
            path=path,
            request_bytes=request_bytes,
            response_bytes=response_bytes,
            route=route,
            exception=exception,
            escaped=escaped,
        )

    def scrape(self) -> Samples:
        """Return what is exposed."""
        source = MetricsSource(self._volume, sample_workers=False)
        return Samples(source.render(openmetrics=False, names=frozenset()).decode())
