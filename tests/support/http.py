"""One HTTP request on one connection: nothing is retried and nothing is reused."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass

TIMEOUT = 30.0


@dataclass(frozen=True)
class Response:
    """What a server answered; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body, decoded as UTF-8."""
        return self.body.decode()


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: str, timeout: float = TIMEOUT) -> None:
        """Connect to the socket at `path`."""
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connection(
    address: tuple[str, int] | str, timeout: float = TIMEOUT
) -> http.client.HTTPConnection:
    """Return a connection to a host and port, or to the path of a unix socket."""
    if isinstance(address, str):
        return UnixConnection(address, timeout)
    return http.client.HTTPConnection(*address, timeout=timeout)


def send(
    client: http.client.HTTPConnection,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send one request over `client`, which stays open where the server keeps it, and read all."""
    client.request(method, path, body=body, headers=dict(headers or {}))
    answer = client.getresponse()
    return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def request(
    address: tuple[str, int] | str,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Response:
    """Send one request on a connection of its own and return the whole answer."""
    client = connection(address, timeout)
    try:
        given = {"Connection": "close", **(headers or {})}
        return send(client, path, method=method, body=body, headers=given)
    finally:
        client.close()
