"""A client that calls a WSGI application as a server does, without a server."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote
from wsgiref.util import setup_testing_defaults

from tests.conformance.adapters import Answer


class WsgiClient:
    """Calls `app` once for each request, reads the whole response and closes it."""

    def __init__(self, app: Any) -> None:
        """Send requests to `app`."""
        self.app = app

    def __call__(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        prefix: str = "",
        body: bytes | None = None,
    ) -> Answer:
        """Send one request; an exception of the application is a 500, as servers make of it."""
        environ = wsgi_environ(path, method=method, headers=headers, prefix=prefix, body=body)
        started: list[Any] = []
        chunks: list[bytes] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            started[:] = [int(status[:3]), {name.lower(): value for name, value in headers}]
            return chunks.append

        try:
            response = self.app(environ, start_response)
            try:
                chunks.extend(response)
            finally:
                getattr(response, "close", lambda: None)()
        except Exception:  # noqa: BLE001 - a server goes on, whatever an application raises
            if not chunks:
                return Answer(500)
        return Answer(started[0], b"".join(chunks), started[1])


def wsgi_environ(
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    prefix: str = "",
    body: bytes | None = None,
) -> dict[str, Any]:
    """Return the environ of a request as a server makes it: the prefix stands in SCRIPT_NAME."""
    raw, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": prefix,
        "PATH_INFO": unquote(raw, "latin-1"),
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(body or b""),
    }
    if body is not None:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    setup_testing_defaults(environ)
    return environ
