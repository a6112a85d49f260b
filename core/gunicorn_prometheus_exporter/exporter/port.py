"""The port of the metrics, which the gunicorn master holds, or tries to get, as long as it runs."""

from __future__ import annotations

import os
import socket
from typing import Protocol

from gunicorn_prometheus_exporter.exporter.backoff import MAX_DELAY, Backoff
from gunicorn_prometheus_exporter.exporter.listener import adopt, describe, listen, metrics_url
from gunicorn_prometheus_exporter.settings import Settings


class Log(Protocol):
    """Where the master reports: gunicorn's logger."""

    def info(self, msg: str, *args: object) -> object:
        """Log what is going on."""

    def warning(self, msg: str, *args: object) -> object:
        """Log what repairs itself."""

    def error(self, msg: str, *args: object) -> object:
        """Log what somebody has to see to."""


class MetricsPort:
    """The listening socket, and how it is come by."""

    def __init__(self, log: Log, settings: Settings) -> None:
        """Prepare to listen where `settings` say."""
        self.listener: socket.socket | None = None
        self._log = log
        self._settings = settings
        self._backoff = Backoff(first=1.0)
        self._reported = False

    def open(self) -> None:
        """Take the port, or say once why it cannot be had and put off the next try.

        Nothing happens where metrics are only published (`SIDECAR`).
        """
        if self.listener is not None or self._settings.sidecar or not self._backoff.is_due():
            return
        try:
            self._use(listen(*self._address()))
        except OSError as error:
            self._backoff.postpone()
            self._report(error)

    def adopt(self, fd: int) -> None:
        """Take over the socket `fd` of the former master, or open one where it does not fit."""
        if self._settings.sidecar:
            os.close(fd)
            return
        try:
            self._use(adopt(fd, *self._address()))
        except OSError:
            self.open()

    def move(self, settings: Settings) -> None:
        """Listen where `settings` say from now on; nothing changes if that is the same place."""
        before, self._settings = self._address(), settings
        if before != self._address() or settings.sidecar:
            self.close()
            self._backoff.reset()
            self._reported = False

    def close(self) -> None:
        """Give up the port."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def _address(self) -> tuple[str, int]:
        return self._settings.bind_address, self._settings.metrics_port

    def _use(self, listener: socket.socket) -> None:
        self.listener = listener
        self._reported = False
        self._backoff.reset()
        tls = bool(self._settings.ssl_certfile)
        url = metrics_url(listener, self._settings.bind_address, tls=tls)
        self._log.info("Prometheus metrics on %s", url)

    def _report(self, error: OSError) -> None:
        if not self._reported:
            self._reported = True
            self._log.error(
                "No Prometheus metrics: cannot listen on %s port %s (%s). The application is "
                "served without them; trying again every 1 to %.0f seconds. "
                "PROMETHEUS_METRICS_PORT sets another port.",
                *self._address(),
                describe(error),
                MAX_DELAY,
            )
