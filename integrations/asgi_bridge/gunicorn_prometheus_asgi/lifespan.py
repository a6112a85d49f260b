"""Runs the lifespan of an ASGI application: what it does at its start and at its end."""

from __future__ import annotations

import asyncio
from typing import Any

from gunicorn_prometheus_exporter.asgi import Application, Message, Scope
from gunicorn_prometheus_exporter.errors import PrometheusExporterError


class LifespanError(PrometheusExporterError):
    """The application said that it cannot start."""


class Lifespan:
    """The lifespan of one application in one event loop.

    state: what the application put into `scope["state"]` at its start, for each request to copy.
    """

    def __init__(self, app: Application) -> None:
        """Prepare; nothing runs before `start()`."""
        self.state: dict[str, Any] = {}
        self._app = app
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Let the application start; raise LifespanError where it says that it cannot.

        An application that raises instead does not know of lifespans, and goes without; but a wrong
        setting of ours, which comes to light when the application builds its middleware, is raised.
        """
        self._task = asyncio.ensure_future(self._run())
        answer = await self._ask("lifespan.startup")
        if answer == "lifespan.startup.failed":
            raise LifespanError("the ASGI application failed to start; its log says why.")

    async def stop(self) -> None:
        """Let the application end what it started."""
        if self._task is not None and not self._task.done():
            await self._ask("lifespan.shutdown")

    async def _ask(self, event: str) -> str:
        """Send `event` and return the type of the answer, or nothing where the application ends."""
        assert self._task is not None
        self._asked.put_nowait({"type": event})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return str(answer.result()["type"])
        answer.cancel()
        self._task.result()
        return ""

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._asked.get, self._answers.put)
        except PrometheusExporterError:
            raise
        except Exception:  # noqa: BLE001 - uvicorn too takes it for "unsupported"; failures are told
            return
