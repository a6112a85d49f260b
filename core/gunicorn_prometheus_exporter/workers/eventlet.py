"""The worker for many slow connections on eventlet's green threads: our own, on every gunicorn.

gunicorn 26 dropped its eventlet worker, and those of 24 and 25 patch the whole master when they are
imported. This one patches the forked worker only.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from gunicorn_prometheus_exporter.workers.requirements import require

require("PrometheusEventletWorker", "eventlet", "eventlet")

from gunicorn.workers.base_async import AsyncWorker  # noqa: E402

from gunicorn_prometheus_exporter.workers.wsgi import ObservedWSGIWorker  # noqa: E402


class PrometheusEventletWorker(ObservedWSGIWorker, AsyncWorker):
    """An eventlet worker, observed: `gunicorn_prometheus_exporter.PrometheusEventletWorker`."""

    def init_process(self) -> None:
        """Make this process green, then run."""
        import eventlet
        import eventlet.hubs

        eventlet.hubs.use_hub()
        eventlet.monkey_patch()
        # Green sockets do not block, an error for os.sendfile(): gunicorn writes instead.
        self.cfg.set("sendfile", False)
        super().init_process()

    def run(self) -> None:
        """Accept on every listener until told to stop, then let the requests in hand finish."""
        import eventlet
        from eventlet.greenio import GreenSocket

        pool = eventlet.GreenPool(self.worker_connections)
        sockets: list[Any] = self.sockets
        listeners = [GreenSocket(listener.sock) for listener in sockets]
        acceptors = [eventlet.spawn(self._accept, listener, pool) for listener in listeners]
        while self.alive:
            self.notify()
            eventlet.sleep(1.0)
        for acceptor in acceptors:
            acceptor.kill()
        for listener in listeners:
            listener.close()
        self._finish(pool)

    def _accept(self, listener: Any, pool: Any) -> None:
        while True:
            pool.spawn_n(self.handle, listener, *listener.accept())

    def _finish(self, pool: Any) -> None:
        import eventlet

        with eventlet.Timeout(self.cfg.graceful_timeout, False):
            while pool.running():
                self.notify()
                eventlet.sleep(0.1)
            return
        self.log.warning("Worker graceful timeout (pid:%s)", self.pid)

    def notify(self) -> None:
        """Tell the master that this worker lives, and leave if there is no master any more."""
        super().notify()
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            sys.exit(0)

    def timeout_ctx(self) -> Any:
        """Return what ends the wait for the next request of a connection."""
        import eventlet

        return eventlet.Timeout(self.cfg.keepalive or None, False)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection."""
        client.setblocking(True)
        if self.cfg.is_ssl:
            from gunicorn.sock import ssl_wrap_socket

            client = ssl_wrap_socket(client, self.cfg)
        super().handle(listener, client, addr)

    def handle_quit(self, sig: Any, frame: Any) -> None:
        """Stop quickly, outside of the signal handler, where the user's hook may block."""
        import eventlet

        eventlet.spawn(super().handle_quit, sig, frame)

    def handle_usr1(self, sig: Any, frame: Any) -> None:
        """Reopen the logs, outside of the signal handler."""
        import eventlet

        eventlet.spawn(super().handle_usr1, sig, frame)

    def is_already_handled(self, respiter: Any) -> bool:
        """Close the connection where the application took it over, as eventlet's websockets do."""
        import eventlet.wsgi

        if getattr(eventlet.wsgi.WSGI_LOCAL, "already_handled", False):
            raise StopIteration
        return bool(super().is_already_handled(respiter))
