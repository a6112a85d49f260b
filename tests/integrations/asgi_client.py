"""A client that calls an ASGI application as a server does, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from gunicorn_prometheus_exporter.errors import SettingsError
from tests.conformance.adapters import Answer


class AsgiClient:
    """Calls `app` once for each request, in an event loop of its own."""

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
        body: bytes = b"",
    ) -> Answer:
        """Send one request; an exception of the application is a 500, as servers make of it."""
        scope = http_scope(path, method=method, headers=headers, prefix=prefix)
        return asyncio.run(self._exchange(scope, body))

    async def _exchange(self, scope: dict[str, Any], body: bytes) -> Answer:
        sent: list[Any] = []
        requests = [{"type": "http.request", "body": body, "more_body": False}]
        answered = asyncio.Event()

        async def receive() -> Any:
            if requests:
                return requests.pop()
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.set()

        try:
            await self.app(scope, receive, send)
        except SettingsError:
            raise
        except Exception:  # noqa: BLE001 - a server goes on, whatever an application raises
            sent = sent or [{"type": "http.response.start", "status": 500, "headers": []}]
        return _answer(sent)


def http_scope(
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    prefix: str = "",
) -> dict[str, Any]:
    """Return the scope of a request as a server makes it: `path` includes the prefix."""
    raw, _, query = (prefix + path).partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "root_path": prefix,
        "query_string": query.encode(),
        "headers": [(k.lower().encode(), v.encode()) for k, v in _with_host(headers).items()],
        "client": ("127.0.0.1", 1234),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


def _with_host(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {"Host": "testserver", **(headers or {})}


def _answer(sent: list[Any]) -> Answer:
    headers = {name.decode().lower(): value.decode() for name, value in sent[0].get("headers", [])}
    return Answer(
        sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]), headers
    )
