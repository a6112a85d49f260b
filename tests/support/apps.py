"""The WSGI applications that the tests serve. `app` has a route for each way a request can go."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from gunicorn_prometheus_exporter.route import route_of

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
View = Callable[[Environ, StartResponse], Iterable[bytes]]

CHUNK = b"x" * 1024


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 200 with `hello`."""
    return _answer(start_response, 200, b"hello")


def raise_before(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raise before the response has started: the client gets gunicorn's 500."""
    raise ValueError("before the first byte")


def raise_started(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raise after start_response(), but before a byte was sent."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    raise KeyError("started, nothing sent")


def raise_os_error(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raise what the application's own I/O raised: gunicorn closes without an answer."""
    raise FileNotFoundError(errno.ENOENT, "a file of the application's")


def raise_first_item(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Return a generator that raises instead of giving its first item."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return _failing(0)


def raise_after(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raise after the first bytes have been sent: the status is 200, the body is cut."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10240")])
    return _failing(3)


def stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send `n` chunks (default 10) of 1,024 bytes, `delay` seconds apart."""
    count, delay = int(_query(environ, "n", "10")), float(_query(environ, "delay", "0"))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return _chunks(count, delay)


def big(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with `size` bytes (default 1 MiB) in one piece."""
    return _answer(start_response, 200, b"x" * int(_query(environ, "size", str(1 << 20))))


def sendfile(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with a file of `size` bytes (default 64 KiB) through `wsgi.file_wrapper`."""
    size = int(_query(environ, "size", str(1 << 16)))
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.write(b"f" * size)
    file.seek(0)
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))]
    start_response("200 OK", headers)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
    return wrapped


def slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer after `seconds` (default 1)."""
    time.sleep(float(_query(environ, "seconds", "1")))
    return _answer(start_response, 200, b"slow")


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the body of the request."""
    return _answer(start_response, 200, environ["wsgi.input"].read())


def unread(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer without reading the body of the request."""
    return _answer(start_response, 200, b"unread")


def status(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the status that the path ends with."""
    code = int(environ["PATH_INFO"].rpartition("/")[2])
    return _answer(start_response, code, b"" if code in (204, 304) else b"status")


def pid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the worker's process id."""
    return _answer(start_response, 200, str(os.getpid()).encode())


def exit_worker(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """End the worker at once with the exit code `code` (default 7)."""
    os._exit(int(_query(environ, "code", "7")))


def system_exit(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raise SystemExit, as an application that calls sys.exit() does."""
    sys.exit(int(_query(environ, "code", "0")))


def not_found(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 404."""
    return _answer(start_response, 404, b"not found")


def routed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Do what an adapter does: name the route, and with `?swallow` an exception made a response.

    `/routed/excluded` leaves the request out.
    """
    route = route_of(environ)
    route.endpoint = "/routed/<name>"
    route.excluded = environ["PATH_INFO"] == "/routed/excluded"
    if _query(environ, "swallow", ""):
        route.exception = LookupError("the framework made a response of it")
        return _answer(start_response, 500, b"swallowed")
    return _answer(start_response, 200, b"routed")


ROUTES: dict[str, View] = {
    "/": hello,
    "/hello": hello,
    "/raise/before": raise_before,
    "/raise/started": raise_started,
    "/raise/os-error": raise_os_error,
    "/raise/first-item": raise_first_item,
    "/raise/after": raise_after,
    "/stream": stream,
    "/big": big,
    "/sendfile": sendfile,
    "/slow": slow,
    "/echo": echo,
    "/unread": unread,
    "/pid": pid,
    "/exit": exit_worker,
    "/system-exit": system_exit,
}
PREFIXES: dict[str, View] = {"/status/": status, "/routed/": routed, "/users/": hello}


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch by path; what is not known is a 404."""
    path = environ["PATH_INFO"]
    view = ROUTES.get(path)
    if view is None:
        found = (view for prefix, view in PREFIXES.items() if path.startswith(prefix))
        view = next(found, not_found)
    return view(environ, start_response)


def _answer(start_response: StartResponse, code: int, body: bytes) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response(f"{code} Status", headers)
    return [body]


def _query(environ: Environ, name: str, default: str) -> str:
    values: list[str] = parse_qs(environ.get("QUERY_STRING", "")).get(name, [default])
    return values[0]


def _failing(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield CHUNK
    raise ValueError("in the middle of the body")


def _chunks(count: int, delay: float) -> Iterator[bytes]:
    for _ in range(count):
        if delay:
            time.sleep(delay)
        yield CHUNK
