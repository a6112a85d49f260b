"""The smallest applications there are: what a request costs beside them is the server's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

BODY = b"Hello, world!\n"
LENGTH = str(len(BODY))


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Say hello over WSGI."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", LENGTH)])
    return [BODY]


async def asgi_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Say hello over ASGI."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [(b"content-type", b"text/plain"), (b"content-length", LENGTH.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})
