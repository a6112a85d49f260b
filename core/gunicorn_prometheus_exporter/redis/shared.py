"""The metrics of the whole application, from all instances that share a Redis."""

from __future__ import annotations

import threading
import time
from functools import partial

from gunicorn_prometheus_exporter.exporter.exposition import Exposition
from gunicorn_prometheus_exporter.exporter.self_metrics import SelfMetrics
from gunicorn_prometheus_exporter.exporter.source import MetricsSource
from gunicorn_prometheus_exporter.redis.agent import Agent
from gunicorn_prometheus_exporter.redis.channel import Channel
from gunicorn_prometheus_exporter.redis.client import load_redis, open_client
from gunicorn_prometheus_exporter.redis.exchange import View
from gunicorn_prometheus_exporter.redis.identity import Identity
from gunicorn_prometheus_exporter.redis.instance import Instance
from gunicorn_prometheus_exporter.redis.naming import Renaming
from gunicorn_prometheus_exporter.redis.scripts import keys_of
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.blocks import Block
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume


class SharedMetrics:
    """Renders what this instance measures together with what others have published."""

    def __init__(
        self, settings: Settings, source: MetricsSource, volume: MemoryVolume | None = None
    ) -> None:
        """Prepare to publish what `source` reads from `volume`; or, without one, only to read."""
        self._settings = settings
        self._source = source
        load_redis()
        self._instance: Instance | None = None
        if volume is not None:
            name = settings.redis_instance
            self._instance = Instance(Identity(volume), source.local_blocks, name)
        keys = keys_of(settings.redis_key_prefix, settings.redis_app)
        channel = Channel(partial(open_client, settings), keys, settings.redis_expire_seconds)
        self._agent = Agent(settings, channel, self._instance)
        self._renaming = Renaming()
        self._exposition = Exposition()
        self._lock = threading.Lock()
        source.providers.append(self._health_blocks)

    @property
    def publishes(self) -> bool:
        """Whether this is one of the instances."""
        return self._instance is not None

    @property
    def self_metrics(self) -> SelfMetrics:
        """What counts the scrapes."""
        return self._source.self_metrics

    def start(self) -> None:
        """Begin to talk to Redis."""
        self._agent.start()

    def stop(self, seconds: float) -> None:
        """Publish a last time; takes at most `seconds`."""
        self._agent.stop(seconds)

    def render(self, *, openmetrics: bool, names: frozenset[str]) -> bytes:
        """Return the exposition of all instances' metrics, or of those called `names` if any are.

        Waits for Redis no longer than its time-out; then what was known before is rendered.
        """
        view = self._agent.exchange(self._settings.redis_timeout)
        local = self._source.local_blocks() if view.local is None else view.local
        exporter = self._source.exporter_blocks()
        with self._lock:
            blocks = self._own(local) + self._others(view) + exporter
            self._renaming.forget_unused()
            return self._exposition.render(blocks, openmetrics=openmetrics, names=names)

    def _own(self, local: list[Block]) -> list[Block]:
        return self._renaming.rename(local, self._instance.name) if self._instance else local

    def _others(self, view: View) -> list[Block]:
        now, live = view.redis_now(time.monotonic()), self._settings.redis_live_seconds * 1000
        blocks: list[Block] = []
        for other in view.others:
            listed = other.blocks if other.is_live(now, live) else other.totals
            blocks += self._renaming.rename(listed, other.name)
        return blocks

    def _health_blocks(self) -> list[Block]:
        view = self._agent.view
        now, live_ms = view.redis_now(time.monotonic()), self._settings.redis_live_seconds * 1000
        instances = [one for one in view.others if not one.snapshot.is_archive]
        live = [one for one in instances if one.is_live(now, live_ms)]
        ages = {one.name: max(0.0, (now - one.snapshot.stamp) / 1000) for one in live}
        own = 1 if self._instance else 0
        return self._agent.health.blocks(len(live) + own, len(instances) - len(live), ages)


def central(settings: Settings) -> tuple[MetricsSource, SharedMetrics]:
    """Return what shows the metrics of all instances without being one of them."""
    source = MetricsSource(MemoryVolume.create(), sample_workers=False)
    return source, SharedMetrics(settings, source)
