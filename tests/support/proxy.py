"""A TCP proxy between a client and a server, which can be slow or let nothing through."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards connections to one port of the loopback interface."""

    def __init__(self, target: int) -> None:
        """Begin to forward to the port `target`, fast and completely."""
        self.delay = 0.0
        """Seconds that each piece of an answer waits."""
        self.partitioned = False
        """Whether what is sent disappears, as in a network that is cut: nobody is told."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target), 5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                for ends in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self.delay:
                    time.sleep(self.delay)  # the slowness is what this proxy is for
                if not self.partitioned:
                    target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()  # the other pump closes the other end


@contextmanager
def proxied(target: int) -> Iterator[Proxy]:
    """Yield a proxy to the port `target` for the length of the block."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
