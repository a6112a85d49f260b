"""The worker for ASGI applications on uvicorn, from the package uvicorn-worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from gunicorn_prometheus_exporter.workers.requirements import require

require("PrometheusUvicornWorker", "uvicorn", "uvicorn_worker")

from uvicorn_worker import UvicornWorker  # noqa: E402

from gunicorn_prometheus_exporter.asgi import Receive, Send  # noqa: E402
from gunicorn_prometheus_exporter.exits import Word  # noqa: E402
from gunicorn_prometheus_exporter.storage.header import State  # noqa: E402
from gunicorn_prometheus_exporter.workers.observed_asgi import ObservedASGIWorker  # noqa: E402


class PrometheusUvicornWorker(ObservedASGIWorker, UvicornWorker):
    """uvicorn's worker, observed: `gunicorn_prometheus_exporter.PrometheusUvicornWorker`."""

    application_attribute = "wsgi"

    @staticmethod
    def has_left(receive: Receive, send: Send) -> bool:
        """Return whether the connection is closed.

        uvicorn's `send` is a method of an object that knows the connection.
        """
        return bool(getattr(getattr(send, "__self__", None), "disconnected", False))

    def run(self) -> None:
        """Serve until told to stop, or until the master is gone."""
        threading.Thread(target=self._leave_with_master, daemon=True).start()
        super().run()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """Stop on SIGQUIT, which uvicorn-worker (0.4) handles here without ever stopping."""
        self.leave(Word.SIGQUIT, State.QUITTING)
        os.kill(os.getpid(), signal.SIGTERM)

    def _leave_with_master(self) -> None:
        """Stop gracefully when the master dies, which uvicorn-worker does not notice (0.4)."""
        while os.getppid() == self.ppid:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)
