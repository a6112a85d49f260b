"""Puts together what the exporter serves, for the process in gunicorn and for the command line."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from gunicorn_prometheus_exporter.exporter.endpoint import Endpoint
from gunicorn_prometheus_exporter.exporter.order import VolumeSpec
from gunicorn_prometheus_exporter.exporter.server import Server
from gunicorn_prometheus_exporter.exporter.source import MetricsSource
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.contract import Volume
from gunicorn_prometheus_exporter.storage.files import FileVolume
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume

if TYPE_CHECKING:
    from gunicorn_prometheus_exporter.redis.shared import SharedMetrics


def open_volume(spec: VolumeSpec) -> Volume:
    """Return the volume that `spec` describes."""
    memory_fd = spec.get("memory_fd")
    if isinstance(memory_fd, int):
        return MemoryVolume(memory_fd)
    return FileVolume(str(spec["directory"]))


def build_server(
    settings: Settings,
    source: MetricsSource,
    listener: socket.socket,
    title: str = "",
    *,
    shared: SharedMetrics | None = None,
) -> Server:
    """Return the server of `source` or, where several share a Redis, of what is `shared`.

    Raises SettingsError for TLS files that cannot be used.
    """
    tls = None
    if settings.ssl_certfile:
        # Here, because it costs memory that only TLS is worth.
        from gunicorn_prometheus_exporter.exporter.tls import server_context

        tls = server_context(settings)
    if shared is None:
        endpoint = Endpoint(source, title=title)
    else:
        endpoint = Endpoint(shared, source if shared.publishes else None, title=title)
    return Server(listener, endpoint.respond, tls=tls)
