"""A small clock in plain ASGI: the time, the time as a stream, and a view that fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/`, `/ticks` (five lines in half a second) and `/broken`; anything else is a 404."""
    if scope["type"] == "lifespan":
        await run_lifespan(receive, send)
    elif scope["path"] == "/broken":
        raise RuntimeError("the clock is broken")
    elif scope["path"] == "/ticks":
        await answer(send, 200, *[0.1] * 5)
    else:
        await answer(send, 200 if scope["path"] == "/" else 404, 0)


async def answer(send: Send, status: int, *pauses: float) -> None:
    """Send the time after each pause, in seconds."""
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for pause in pauses:
        await asyncio.sleep(pause)
        line = f"{time.ctime()}\n".encode()
        await send({"type": "http.response.body", "body": line, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def run_lifespan(receive: Receive, send: Send) -> None:
    """Say that there is nothing to start and nothing to stop."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
