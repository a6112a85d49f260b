"""Runs an ASGI application under WSGI workers: sync, thread, gevent and eventlet.

    app = AsgiToWsgi(fastapi_app)

Built on a2wsgi. What is ours: the event loop is made after the fork, so that `--preload` works;
lifespan runs once per worker; a client that leaves ends its request; background tasks do not hold
up the worker; and the `Route` of the request crosses the bridge.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gunicorn_prometheus_asgi.call import Call
from gunicorn_prometheus_asgi.event_loop import EventLoopThread
from gunicorn_prometheus_asgi.exceptions import NotedExceptions
from gunicorn_prometheus_asgi.lifespan import Lifespan
from gunicorn_prometheus_exporter.asgi import Application

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger("gunicorn_prometheus_exporter")


class AsgiToWsgi:
    """A WSGI application that answers as an ASGI application does."""

    def __init__(self, app: Application, *, shutdown_timeout: float = 5.0) -> None:
        """Serve `app`; nothing runs before `start()` or the first request.

        shutdown_timeout: how many seconds background tasks and the lifespan get at the end.
        """
        self.app = app
        self._shutdown_timeout = shutdown_timeout
        # By process: what was made before a fork is of no use after it. setdefault() is atomic, so
        # no lock is needed, which might be held at a fork or be made before gevent patches locks.
        self._servers: dict[int, _Server] = {}

    def start(self) -> None:
        """Start the application in this process, as the first request would.

        Fit for gunicorn's `post_worker_init`. Raises LifespanError where it cannot start.
        """
        self._server()

    def stop(self) -> None:
        """End the application in this process. Fit for gunicorn's `worker_exit`; else at exit."""
        server = self._servers.pop(os.getpid(), None)
        if server is not None:
            atexit.unregister(self.stop)
            server.stop(self._shutdown_timeout)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        server = self._server()
        return Call(server.app, server.thread.loop, server.lifespan.state, server.tasks).answer(
            environ, start_response
        )

    def _server(self) -> _Server:
        pid = os.getpid()
        server = self._servers.get(pid)
        if server is None:
            mine = _Server(self.app)
            server = self._servers.setdefault(pid, mine)
            if server is mine:
                self._start(mine, pid)
        server.wait()
        return server

    def _start(self, server: _Server, pid: int) -> None:
        try:
            server.start()
        except BaseException:
            del self._servers[pid]  # the next request tries again
            raise
        atexit.register(self.stop)


class _Server:
    """The application at work in one process."""

    thread: EventLoopThread
    lifespan: Lifespan

    def __init__(self, app: Application) -> None:
        self.app = NotedExceptions(app)
        self.tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._error: BaseException | None = None

    def start(self) -> None:
        try:
            self.thread = EventLoopThread()
            self.thread.run(self._begin())
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ready.set()

    def wait(self) -> None:
        """Wait until another thread has started this; raise what it raised."""
        self._ready.wait()
        if self._error is not None:
            raise self._error

    async def _begin(self) -> None:
        self.lifespan = Lifespan(self.app)
        await self.lifespan.start()

    def stop(self, timeout: float) -> None:
        try:
            self.thread.run(self._finish(timeout), 2 * timeout + 1)
        except TimeoutError:
            logger.warning("the ASGI application did not end within %g s", timeout)
        self.thread.stop(timeout)

    async def _finish(self, timeout: float) -> None:
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=timeout)
        for task in self.tasks:
            task.cancel()
        await asyncio.wait_for(self.lifespan.stop(), timeout)
