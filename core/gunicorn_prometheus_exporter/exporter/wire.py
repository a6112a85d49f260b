"""HTTP/1 on the wire: the head of a request from bytes, a response to bytes.

Only what an endpoint without request bodies needs (RFC 9112). A request that has a body all the
same is answered, and its connection closed: nothing after its head is read.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from gunicorn_prometheus_exporter.exporter.endpoint import Request, Response

MAX_HEAD = 32 * 1024
"""Bytes of the longest head of a request that is read."""

_END = re.compile(rb"\n\r?\n")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")


class MalformedRequestError(Exception):
    """The bytes are not a request that can be served."""

    def __init__(self, status: int, reason: str) -> None:
        """Say which `status` answers it, and why."""
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Head:
    """A request, and whether its connection may serve another one."""

    request: Request
    keep_alive: bool


def find_end(buffer: bytes | bytearray, start: int = 0) -> int:
    """Return the offset after the head in `buffer`, searched from `start`; 0 if it goes on."""
    found = _END.search(buffer, max(0, start - 2))
    return found.end() if found else 0


def parse_head(data: bytes) -> Head:
    """Return the request whose head is `data`; raises MalformedRequestError."""
    line, *lines = data.decode("latin-1").replace("\r\n", "\n").rstrip("\n").split("\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedRequestError(400, "This is not an HTTP request.")
    method, target, major, minor = match.groups()
    if major != "1":
        raise MalformedRequestError(505, "Only HTTP/1.0 and HTTP/1.1 are served here.")
    fields = _parse_fields(lines)
    if minor != "0" and "host" not in fields:
        raise MalformedRequestError(400, "The request has no Host.")
    path, query = _split_target(target)
    accept, encoding = fields.get("accept", ""), fields.get("accept-encoding", "")
    request = Request(method, path, query, accept, encoding)
    return Head(request, _keeps_alive(minor, fields))


def _parse_fields(lines: list[str]) -> dict[str, str]:
    """Return the header fields by their names in lower case, repeated ones joined by commas."""
    fields: dict[str, str] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise MalformedRequestError(400, "A header of the request is malformed.")
        name, value = match[1].lower(), match[2]
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _split_target(target: str) -> tuple[str, str]:
    """Return path and query of a request target, which proxies may send as a whole URL."""
    if target.startswith("/"):
        path, _, query = target.partition("?")
        return path, query
    try:
        parts = urlsplit(target)
    except ValueError:
        raise MalformedRequestError(400, "The request's address is malformed.") from None
    return parts.path or "/", parts.query


def _keeps_alive(minor: str, fields: dict[str, str]) -> bool:
    options = {option.strip().lower() for option in fields.get("connection", "").split(",")}
    has_body = "transfer-encoding" in fields or fields.get("content-length", "0") != "0"
    if has_body or "close" in options:
        return False
    return minor != "0" or "keep-alive" in options


def serialize(response: Response, *, keep_alive: bool) -> bytes:
    """Return `response` as it is sent."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Date: {date}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + response.body
