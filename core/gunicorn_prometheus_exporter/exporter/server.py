"""The HTTP server of the exporter: one loop that waits for clients, a few threads that answer.

A client costs no thread while it is slow: heads are read and answers are sent by the loop, and only
what is being rendered occupies a thread. Nothing is logged about requests.
"""

from __future__ import annotations

import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from gunicorn_prometheus_exporter.exporter.connection import Connection, Patience, Want
from gunicorn_prometheus_exporter.exporter.endpoint import Request, Response

if TYPE_CHECKING:
    import ssl

MAX_CONNECTIONS = 256
"""Beyond it, the client that we have waited for longest makes room. Others wait in the backlog."""

THREADS = 4
_ANSWER_SECONDS = 60.0
_STOP_SECONDS = 1.0
_STOP_GRACE = 0.1
"""How long a client that has just connected may still take to send its request."""
_NO_RESOURCES_PAUSE = 0.2


class Server:
    """Serves answers on a listening socket that somebody else made and owns."""

    def __init__(
        self,
        listener: socket.socket,
        respond: Callable[[Request], Response],
        *,
        tls: ssl.SSLContext | None = None,
        patience: Patience | None = None,
        max_connections: int = MAX_CONNECTIONS,
        threads: int = THREADS,
    ) -> None:
        """Prepare to answer with what `respond` returns; it is called by `threads` threads."""
        listener.setblocking(False)
        self._listener = listener
        self._respond = respond
        self._tls = tls
        self._patience = patience or Patience()
        self._max_connections = max_connections
        self._threads = threads
        self._waits = _tls_waits() if tls else None
        self._connections: set[Connection] = set()
        self._jobs: queue.SimpleQueue[tuple[Connection, Request] | None] = queue.SimpleQueue()
        self._answers: deque[tuple[Connection, Response]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake_end, self._waker = socket.socketpair()
        self._wake_end.setblocking(False)
        self._waker.setblocking(False)
        self._accepting = False
        self._accept_at = 0.0
        self._stop_at: float | None = None

    def stop(self) -> None:
        """Make `run` return once the answers under way are sent; fit for signal handlers."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + _STOP_SECONDS
        self._wake()

    def run(self) -> None:
        """Serve until `stop` is called."""
        self._selector.register(self._wake_end, selectors.EVENT_READ, self._drain_wakes)
        for _ in range(self._threads):
            threading.Thread(target=self._answer_requests, daemon=True).start()
        try:
            while not self._is_finished():
                self._turn()
        finally:
            self._close()

    def close_listener(self) -> None:
        """Give up the listening socket, in this process."""
        self._listener.close()

    def _turn(self) -> None:
        now = time.monotonic()
        self._watch_listener(self._stop_at is None and now >= self._accept_at)
        for key, _ in self._selector.select(self._time_to_wait(now)):
            if not isinstance(key.data, Connection):
                key.data()
            elif key.data in self._connections:  # it may just have made room for another one
                self._advance(key.data)
        while self._answers:
            connection, response = self._answers.popleft()
            if connection in self._connections:
                self._advance(connection, response)
        now = time.monotonic()
        for connection in [one for one in self._connections if self._is_over(one, now)]:
            self._drop(connection)

    def _is_finished(self) -> bool:
        if self._stop_at is None:
            return False
        return not self._connections or time.monotonic() >= self._stop_at

    def _is_over(self, connection: Connection, now: float) -> bool:
        if connection.deadline <= now:
            return True
        idle = not connection.busy and now - connection.waiting_since >= _STOP_GRACE
        return idle and self._stop_at is not None

    def _close(self) -> None:
        for connection in list(self._connections):
            self._drop(connection)
        for _ in range(self._threads):
            self._jobs.put(None)
        self._selector.close()
        self._wake_end.close()
        self._waker.close()

    # The listener

    def _watch_listener(self, wanted: bool) -> None:
        if wanted and not self._accepting:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        elif self._accepting and not wanted:
            self._selector.unregister(self._listener)
        self._accepting = wanted

    def _accept(self) -> None:
        if len(self._connections) >= self._max_connections and not self._make_room():
            self._pause_accepting()
            return
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was faster, or the client has gone
        except OSError:
            # Out of descriptors or memory: the client waits in the backlog until some are free.
            self._make_room()
            self._pause_accepting()
            return
        self._welcome(sock)

    def _welcome(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):
            sock.close()  # it was reset before we could look at it
            return
        connection = Connection(sock, self._patience, self._waits)
        self._connections.add(connection)
        self._advance(connection)

    def _make_room(self) -> bool:
        """Drop the client that we have waited for longest; return whether there was one."""
        waiting = (one for one in self._connections if not one.busy)
        longest = min(waiting, key=lambda one: one.waiting_since, default=None)
        if longest is not None:
            self._drop(longest)
        return longest is not None

    def _pause_accepting(self) -> None:
        self._accept_at = time.monotonic() + _NO_RESOURCES_PAUSE

    # Conversations

    def _advance(self, connection: Connection, response: Response | None = None) -> None:
        """Let the conversation go on to the next thing that it has to wait for."""
        try:
            want = connection.talk.send(response)
        except (StopIteration, OSError):
            self._drop(connection)
            return
        connection.waiting_since = time.monotonic()
        if isinstance(want, Request):
            self._unwatch(connection)
            connection.deadline = connection.waiting_since + _ANSWER_SECONDS
            self._jobs.put((connection, want))
        else:
            self._watch(connection, want)

    def _watch(self, connection: Connection, want: Want) -> None:
        connection.deadline = want.deadline
        key = self._selector.get_map().get(connection.sock)
        if key is None:
            self._selector.register(connection.sock, want.events, connection)
        elif key.events != want.events:
            self._selector.modify(connection.sock, want.events, connection)

    def _unwatch(self, connection: Connection) -> None:
        with suppress(KeyError):
            self._selector.unregister(connection.sock)

    def _drop(self, connection: Connection) -> None:
        self._unwatch(connection)
        self._connections.discard(connection)
        connection.close()

    def _time_to_wait(self, now: float) -> float | None:
        if self._stop_at is not None:
            return _STOP_GRACE / 2
        moments = [one.deadline for one in self._connections]
        if not self._accepting:
            moments.append(self._accept_at)
        return max(0.0, min(moments) - now) if moments else None

    # Answers

    def _answer_requests(self) -> None:
        while (job := self._jobs.get()) is not None:
            connection, request = job
            self._answers.append((connection, self._respond(request)))
            self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # full: it is awake already; closed: it has ended
            self._waker.send(b"\0")

    def _drain_wakes(self) -> None:
        self._wake_end.recv(4096)


def _tls_waits() -> dict[type[OSError], int]:
    """Return what the errors of a TLS socket mean that only say to wait."""
    import ssl  # here, because it costs memory that only TLS is worth

    return {
        ssl.SSLWantReadError: selectors.EVENT_READ,
        ssl.SSLWantWriteError: selectors.EVENT_WRITE,
    }
