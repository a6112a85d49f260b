"""The ASGI application that the tests serve: the routes of `tests.support.apps`, and ASGI's own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from prometheus_client import Counter
from starlette.responses import StreamingResponse

from gunicorn_prometheus_exporter.route import route_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
View = Callable[[Scope, Receive, Send], Awaitable[None]]

CHUNK = b"x" * 1024

lifespan_events = Counter("lifespan_events", "Lifespan events that the workers saw.", ["event"])


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 with `hello`."""
    await _answer(send, 200, b"hello")


async def raise_before(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise before the response has started: the client gets the server's 500."""
    raise ValueError("before the first byte")


async def raise_started(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise after the start of the response, but before a byte of its body."""
    await _start(send, 200)
    raise KeyError("started, nothing sent")


async def raise_after(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise after the first bytes have been sent: the status is 200, the body is cut."""
    await _start(send, 200, 10240)
    for _ in range(3):
        await _send_part(send, CHUNK)
    raise ValueError("in the middle of the body")


async def raise_complete(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise after the whole response, as Starlette does with what became a 500."""
    await _answer(send, 500, b"complete")
    raise LookupError("after the last byte")


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Send `n` chunks (default 10) of 1,024 bytes, `delay` seconds apart."""
    count, delay = int(_query(scope, "n", "10")), float(_query(scope, "delay", "0"))
    await _start(send, 200)
    async for chunk in _chunks(count, delay):
        await _send_part(send, chunk)
    await send({"type": "http.response.body", "body": b""})


async def starlette_stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Do the same through Starlette, which listens for the client's disconnect."""
    chunks = _chunks(int(_query(scope, "n", "10")), float(_query(scope, "delay", "0")))
    await StreamingResponse(chunks)(scope, receive, send)


async def big(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with `size` bytes (default 1 MiB) in one piece."""
    await _answer(send, 200, b"x" * int(_query(scope, "size", str(1 << 20))))


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after `seconds` (default 1)."""
    await asyncio.sleep(float(_query(scope, "seconds", "1")))
    await _answer(send, 200, b"slow")


async def background(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, and run on for `seconds` (default 1) as background tasks do."""
    await _answer(send, 200, b"answered")
    await asyncio.sleep(float(_query(scope, "seconds", "1")))


async def promised(scope: Scope, receive: Receive, send: Send) -> None:
    """Send all that was announced, and say `seconds` later (default 1) that it is all."""
    body = b"promised"
    await _start(send, 200, len(body))
    await _send_part(send, body)
    await asyncio.sleep(float(_query(scope, "seconds", "1")))
    await send({"type": "http.response.body", "body": b""})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body of the request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await _answer(send, 200, body)


async def unread(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading the body of the request."""
    await _answer(send, 200, b"unread")


async def status(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the status that the path ends with."""
    code = int(scope["path"].rpartition("/")[2])
    await _answer(send, code, b"" if code in (204, 304) else b"status")


async def pid(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the worker's process id."""
    await _answer(send, 200, str(os.getpid()).encode())


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404."""
    await _answer(send, 404, b"not found")


async def routed(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what an adapter does: name the route, and with `?swallow` an exception made a response.

    `/routed/excluded` leaves the request out.
    """
    route = route_of(scope)
    route.endpoint = "/routed/<name>"
    route.excluded = scope["path"] == "/routed/excluded"
    if _query(scope, "swallow", ""):
        route.exception = LookupError("the framework made a response of it")
        await _answer(send, 500, b"swallowed")
        return
    await _answer(send, 200, b"routed")


ROUTES: dict[str, View] = {
    "/": hello,
    "/hello": hello,
    "/raise/before": raise_before,
    "/raise/started": raise_started,
    "/raise/first-item": raise_started,
    "/raise/after": raise_after,
    "/raise/complete": raise_complete,
    "/stream": stream,
    "/starlette-stream": starlette_stream,
    "/big": big,
    "/slow": slow,
    "/background": background,
    "/promised": promised,
    "/echo": echo,
    "/unread": unread,
    "/pid": pid,
}
PREFIXES: dict[str, View] = {"/status/": status, "/routed/": routed, "/users/": hello}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Dispatch by type and path; what is not known is a 404."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websocket(receive, send)
    else:
        path = scope["path"]
        found = (view for prefix, view in PREFIXES.items() if path.startswith(prefix))
        await (ROUTES.get(path) or next(found, not_found))(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    """Count what happens to the worker."""
    while True:
        event = (await receive())["type"]
        lifespan_events.labels(event).inc()
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


async def websocket(receive: Receive, send: Send) -> None:
    """Send back each message until the client closes."""
    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        else:
            return


async def _start(send: Send, code: int, length: int | None = None) -> None:
    headers = [(b"content-type", b"text/plain")]
    if length is not None and code != 204:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": code, "headers": headers})


async def _send_part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _answer(send: Send, code: int, body: bytes) -> None:
    await _start(send, code, len(body))
    await send({"type": "http.response.body", "body": body})


def _query(scope: Scope, name: str, default: str) -> str:
    values: list[str] = parse_qs(scope["query_string"].decode()).get(name, [default])
    return values[0]


async def _chunks(count: int, delay: float) -> AsyncIterator[bytes]:
    for _ in range(count):
        if delay:
            await asyncio.sleep(delay)
        yield CHUNK
