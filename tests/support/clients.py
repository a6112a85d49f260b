"""Clients that do what well-behaved ones do not. Each speaks over a socket of its own."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

Address = tuple[str, int] | str

GET = b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n"

MALFORMED = (
    b"NOT A REQUEST AT ALL\r\n\r\n",
    b"GET /hello HTTP/1.1\r\nHost: test\r\nNo colon\r\n\r\n",
    b"GET /hello HTTP/1.1\r\nBad Header\x00: x\r\n\r\n",
    b"GET /hello HTTP/1.1\r\nHost: test\r\nContent-Length: many\r\n\r\n",
)
"""Requests that gunicorn's parser answers with a 400 of its own, in every version.

A wrong HTTP version is not among them: it kills a worker of gunicorn 22.0.
"""


@contextmanager
def connected(address: Address, timeout: float = 30.0) -> Iterator[socket.socket]:
    """Yield a socket connected to a host and port, or to the path of a unix socket."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(timeout)
        client.connect(address)
        yield client


def read_all(client: socket.socket) -> bytes:
    """Return what the server sends until it closes; a reset ends it too."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while chunk := client.recv(65536):
            received += chunk
    return bytes(received)


def send_raw(address: Address, data: bytes) -> bytes:
    """Send `data` as it is, close our side for writing, return the whole answer."""
    with connected(address) as client:
        client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        return read_all(client)


def reset(client: socket.socket) -> None:
    """Close with a RST instead of a FIN, as a client that crashed or gave up does."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def reset_in_response(address: Address, path: str = "/stream?n=2000&delay=0.001") -> None:
    """Ask for `path`, read the first bytes of the answer and reset the connection."""
    with connected(address) as client:
        client.sendall(GET % path.encode())
        client.recv(1024)
        reset(client)


def connect_and_close(address: Address) -> None:
    """Connect and leave without a word, as health checks of load balancers do."""
    with connected(address):
        pass


def send_half_a_request(address: Address, data: bytes = b"GET /hel") -> None:
    """Send the beginning of a request and close."""
    with connected(address) as client:
        client.sendall(data)


def send_slowly(address: Address, path: str = "/hello", pause: float = 0.02) -> bytes:
    """Send a request byte by byte and return the answer."""
    with connected(address) as client:
        for byte in b"GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n" % path.encode():
            client.sendall(bytes([byte]))
            time.sleep(pause)  # the slowness is what this client is for
        return read_all(client)


def read_slowly(address: Address, path: str, pause: float, chunk: int = 65536) -> int:
    """Read the answer to `path` in pieces with pauses; return how many bytes came."""
    received = 0
    with connected(address) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n" % path.encode())
        while data := client.recv(chunk):
            received += len(data)
            time.sleep(pause)  # the slowness is what this client is for
    return received


def keep_alive(address: Address, paths: Sequence[str]) -> list[int]:
    """Send requests for `paths` one after the other on one connection; return their statuses.

    Raises ConnectionError where the server does not keep the connection open.
    """
    statuses: list[int] = []
    with connected(address) as client, client.makefile("rb") as answers:
        for path in paths:
            client.sendall(GET % path.encode())
            status_line = answers.readline()
            if not status_line:
                raise ConnectionError(f"closed after {len(statuses)} answers")
            statuses.append(int(status_line.split()[1]))
            answers.read(_content_length(iter(answers.readline, b"")))
    return statuses


def _content_length(lines: Iterator[bytes]) -> int:
    """Consume the header `lines` and return what Content-Length says; 0 without one."""
    length = 0
    for line in lines:
        if line == b"\r\n":
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return length
