"""The worker for ASGI applications that gunicorn brings itself, from gunicorn 24 on."""

from __future__ import annotations

from typing import NoReturn

from gunicorn_prometheus_exporter.workers.requirements import require_gunicorn

require_gunicorn("PrometheusASGIWorker", 24)

from gunicorn.workers.gasgi import ASGIWorker  # noqa: E402

from gunicorn_prometheus_exporter.asgi import Receive, Send  # noqa: E402
from gunicorn_prometheus_exporter.exits import Word  # noqa: E402
from gunicorn_prometheus_exporter.storage.header import State  # noqa: E402
from gunicorn_prometheus_exporter.workers.observed_asgi import ObservedASGIWorker  # noqa: E402


class PrometheusASGIWorker(ObservedASGIWorker, ASGIWorker):
    """gunicorn's ASGI worker, observed: `gunicorn_prometheus_exporter.PrometheusASGIWorker`."""

    application_attribute = "asgi"

    @staticmethod
    def has_left(receive: Receive, send: Send) -> bool:
        """Return whether the connection is closed; over HTTP/2 `send()` raises instead.

        gunicorn's `receive` is a method of an object that knows the connection.
        """
        protocol = getattr(getattr(receive, "__self__", None), "protocol", None)
        return bool(getattr(protocol, "_closed", False))

    def handle_exit_signal(self) -> None:
        """Stop gracefully (SIGTERM)."""
        self.leave(Word.SIGTERM, State.QUITTING)
        super().handle_exit_signal()

    def handle_quit_signal(self) -> None:
        """Stop quickly (SIGQUIT, SIGINT)."""
        self.leave(Word.SIGQUIT, State.QUITTING)
        super().handle_quit_signal()

    def handle_abort_signal(self) -> NoReturn:
        """Stop at once: the master waited for this worker too long (SIGABRT)."""
        self.enter(State.ABORTING)
        super().handle_abort_signal()
