"""One request on its way from a WSGI server to an ASGI application and back."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from gunicorn_prometheus_asgi.messages import ends_response
from gunicorn_prometheus_exporter.asgi import Application, Message, Receive, Scope, Send
from gunicorn_prometheus_exporter.errors import MissingDependencyError
from gunicorn_prometheus_exporter.route import ROUTE_KEY, route_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger("gunicorn_prometheus_exporter")

_IN_MEMORY = 1 << 20


class Call:
    """One call of the application; also the iterable of its response."""

    def __init__(
        self,
        app: Application,
        loop: asyncio.AbstractEventLoop,
        state: dict[str, Any],
        tasks: set[asyncio.Task[None]],
    ) -> None:
        """Prepare a call of `app` in `loop`.

        state: the lifespan's state, of which the request gets a copy.
        tasks: where the call stands until it has ended.
        """
        self._app = app
        self._loop = loop
        self._state = state
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self._spooled: IO[bytes] | None = None
        self._body: Any = None

    def answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application, as the server reads the response."""
        route_of(environ)
        if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" in environ:
            environ = self._with_length(environ)
        self._body = iter(_a2wsgi(self._serve, self._loop)(environ, start_response))
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk: bytes = next(self._body)
        return chunk

    def close(self) -> None:
        """End the call, which still runs where the client has left; servers call this always."""
        self._body.close()
        self._loop.call_soon_threadsafe(self._abandon)
        if self._spooled is not None:
            self._spooled.close()

    def _abandon(self) -> None:
        task, self._task = self._task, None
        if task is not None and not self._answered.done():
            task.cancel()

    def _with_length(self, environ: WSGIEnvironment) -> WSGIEnvironment:
        """Read a chunked body, of which a2wsgi would see nothing without a length."""
        self._spooled = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        shutil.copyfileobj(environ["wsgi.input"], self._spooled)
        length = self._spooled.tell()
        self._spooled.seek(0)
        return {**environ, "wsgi.input": self._spooled, "CONTENT_LENGTH": str(length)}

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application until its response is complete; what it does then is its own."""
        scope[ROUTE_KEY] = route_of(scope["wsgi_environ"])
        scope["state"] = self._state.copy()
        self._answered: asyncio.Future[None] = self._loop.create_future()
        sending = self._sending(send, bodiless=scope["method"] == "HEAD")
        call = self._app(scope, self._receiving(receive), sending)
        self._task = task = asyncio.ensure_future(call)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task, self._answered}, return_when=asyncio.FIRST_COMPLETED)
        if self._task is not None and not self._answered.done():  # None: the client has left
            _raise_failure(task)

    def _receiving(self, receive: Receive) -> Receive:
        async def received() -> Message:
            if self._answered.done():
                return {"type": "http.disconnect"}
            return await receive()

        return received

    def _sending(self, send: Send, *, bodiless: bool) -> Send:
        async def sent(message: Message) -> None:
            # ASGI servers drop the body that answers a HEAD; gunicorn's WSGI workers would send it.
            await send({**message, "body": b""} if bodiless and "body" in message else message)
            if ends_response(message) and not self._answered.done():
                self._answered.set_result(None)

        return sent

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._answered.done() and not task.cancelled() and (error := task.exception()):
            # The client has its answer, so no one else would hear of it.
            logger.error("exception in the ASGI application", exc_info=error)


def _raise_failure(task: asyncio.Task[None]) -> None:
    """Raise why `task` ended without a response: a2wsgi would wait for one forever."""
    if task.cancelled():
        raise RuntimeError("the ASGI application was cancelled")
    task.result()
    raise RuntimeError("the ASGI application returned without completing its response")


def _a2wsgi(app: Application, loop: asyncio.AbstractEventLoop) -> Any:
    try:
        from a2wsgi import ASGIMiddleware
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "AsgiToWsgi needs a2wsgi: pip install gunicorn-prometheus-exporter[fastapi]"
        ) from None
    return ASGIMiddleware(app, loop=loop)  # type: ignore[arg-type]
