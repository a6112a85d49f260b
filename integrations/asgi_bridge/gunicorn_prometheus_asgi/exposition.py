"""Answers a request with the metrics, inside the application."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from gunicorn_prometheus_exporter.asgi import Scope, Send
from gunicorn_prometheus_exporter.inprocess import expose


async def send_metrics(scope: Scope, send: Send) -> None:
    """Answer 200 with the metrics, in the format that the client asks for."""
    accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    names = parse_qs(scope["query_string"].decode("latin-1")).get("name[]", [])
    content_type, body = await asyncio.to_thread(expose, accept, names)
    await _respond(scope, send, 200, content_type, body)


async def send_forbidden(scope: Scope, send: Send) -> None:
    """Answer 403."""
    await _respond(scope, send, 403, "text/plain; charset=utf-8", b"Forbidden\n")


async def _respond(scope: Scope, send: Send, status: int, content_type: str, body: bytes) -> None:
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    shown = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": shown})
