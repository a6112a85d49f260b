"""Observes the requests of gunicorn workers that call an ASGI application."""

from __future__ import annotations

from typing import Any

from gunicorn_prometheus_exporter.asgi import Application, Receive, Scope, Send, measure
from gunicorn_prometheus_exporter.workers.observed import ObservedWorker


class ObservedASGIWorker(ObservedWorker):
    """A mixin to put before a worker that keeps its ASGI application in `application_attribute`."""

    application_attribute: str

    @staticmethod
    def has_left(receive: Receive, send: Send) -> bool:
        """Return whether the server knows that the client has closed the connection of these."""
        raise NotImplementedError

    def observe(self) -> None:
        """Put ourselves around the application."""
        app: Application = getattr(self, self.application_attribute)
        setattr(self, self.application_attribute, self._observed(app))

    def _observed(self, app: Application) -> Application:
        recorder, page, has_left = self.recorder, self.page, self.has_left

        async def application(scope: Scope, receive: Receive, send: Send) -> Any:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            page.requests += 1
            return await measure(app, scope, receive, send, recorder, has_left)

        return application
