"""One client's connection, as a conversation that says what it waits for and never blocks."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from typing import NamedTuple, TypeVar

from gunicorn_prometheus_exporter.exporter.endpoint import Request, Response, plain
from gunicorn_prometheus_exporter.exporter.wire import (
    MAX_HEAD,
    Head,
    MalformedRequestError,
    find_end,
    parse_head,
    serialize,
)

_T = TypeVar("_T")

CHUNK = 65536


class Patience(NamedTuple):
    """How many seconds a client may take, in all and however slowly it goes on, for each step."""

    handshake: float = 10.0
    head: float = 10.0
    idle: float = 120.0
    """Between two requests: longer than the usual scrape intervals, so that connections last."""
    send: float = 30.0
    linger: float = 1.0


class Want(NamedTuple):
    """What a conversation waits for: `events` of its socket, until the monotonic `deadline`."""

    events: int
    deadline: float


Conversation = Generator[Want | Request, Response | None, None]
"""Yields what it waits for. A `Request` is answered by sending its `Response`."""

_Step = Generator[Want, object, _T]


class Connection:
    """A connected, non-blocking socket and the conversation on it."""

    def __init__(
        self,
        sock: socket.socket,
        patience: Patience,
        waits: Mapping[type[OSError], int] | None = None,
    ) -> None:
        """Converse on `sock`; `waits` says which errors of TLS mean to wait, and for what."""
        self.sock = sock
        self.deadline = 0.0
        self.waiting_since = 0.0
        self.busy = False
        """Whether a request of this client is being answered."""
        self.talk = self._converse()
        self._patience = patience
        self._waits = waits
        self._buffer = bytearray()

    def close(self) -> None:
        """End the conversation wherever it is."""
        self.talk.close()
        self.sock.close()

    def _converse(self) -> Conversation:
        if self._waits is not None:
            yield from self._handshake()
        patience = self._patience.head
        while (yield from self._exchange(patience)):
            patience = self._patience.idle
        yield from self._linger()

    def _exchange(self, patience: float) -> Generator[Want | Request, Response | None, bool]:
        """Serve one request; return whether the connection may serve another one."""
        try:
            head = yield from self._read_head(patience)
        except MalformedRequestError as error:
            yield from self._send(plain(error.status, str(error)), keep_alive=False)
            return False
        if head is None:
            return False
        self.busy = True
        response = yield head.request
        assert response is not None
        yield from self._send(response, keep_alive=head.keep_alive)
        self.busy = False
        return head.keep_alive

    def _handshake(self) -> _Step[None]:
        deadline = time.monotonic() + self._patience.handshake
        handshake: Callable[[], None] = self.sock.do_handshake  # type: ignore[attr-defined]
        yield from self._perform(handshake, EVENT_READ, deadline)

    def _read_head(self, patience: float) -> _Step[Head | None]:
        """Return the next request, None if the client has no more; its time runs from its start."""
        deadline = time.monotonic() + patience
        searched = 0
        while True:
            while self._buffer.startswith((b"\r", b"\n")):
                del self._buffer[:1]
            end = find_end(self._buffer, searched)
            if (end or len(self._buffer)) > MAX_HEAD:
                raise MalformedRequestError(431, "The request's headers are too large.")
            if end:
                head = bytes(self._buffer[:end])
                del self._buffer[:end]
                return parse_head(head)
            searched = len(self._buffer)
            data = yield from self._perform(lambda: self.sock.recv(CHUNK), EVENT_READ, deadline)
            if not data:
                return None
            deadline = min(deadline, time.monotonic() + self._patience.head)
            self._buffer += data

    def _send(self, response: Response, *, keep_alive: bool) -> _Step[None]:
        deadline = time.monotonic() + self._patience.send
        rest = memoryview(serialize(response, keep_alive=keep_alive))
        while rest:
            send = partial(self.sock.send, rest[:CHUNK])
            sent = yield from self._perform(send, EVENT_WRITE, deadline)
            rest = rest[sent:]

    def _linger(self) -> _Step[None]:
        """Say that no more comes and read what does, or a reset may overtake our last answer."""
        deadline = time.monotonic() + self._patience.linger
        if self._waits is not None:
            # Sends TLS's own farewell, and need not wait for the client's.
            with suppress(OSError, ValueError):
                self.sock.unwrap()  # type: ignore[attr-defined]
        self.sock.shutdown(socket.SHUT_WR)
        more = True
        while more:
            # Waits first, so that a client that sends without end cannot keep others from us.
            yield Want(EVENT_READ, deadline)
            more = bool(self.sock.recv(CHUNK))

    def _perform(self, operation: Callable[[], _T], events: int, deadline: float) -> _Step[_T]:
        """Return what `operation` returns as soon as it need not wait."""
        while True:
            try:
                return operation()
            except BlockingIOError:
                yield Want(events, deadline)
            except OSError as error:
                if self._waits is None or type(error) not in self._waits:
                    raise
                yield Want(self._waits[type(error)], deadline)
