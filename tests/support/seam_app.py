"""A WSGI application that does what an adapter does, with all that the seam has."""

from __future__ import annotations

from collections.abc import Iterable

from gunicorn_prometheus_exporter import UNMATCHED, Policy, route_of
from tests.support.apps import Environ, StartResponse

POLICY = Policy(buckets=(0.5, 1.0), group_status=True)


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Name the route in one way or another, and answer with the status that the path ends with."""
    _, kind, last = environ["PATH_INFO"].split("/")
    route = route_of(environ)
    route.endpoint = f"/{kind}/<status>"
    if kind == "unknown":
        route.endpoint = UNMATCHED
    elif kind == "labelled":
        route.labels = (("tenant", environ["QUERY_STRING"]),)
    elif kind == "policy":
        route.policy = POLICY
    elif kind == "excluded":
        route.excluded = True
    elif kind == "escaping":
        raise LookupError("named, and not caught")
    elif kind == "swallowing":
        route.exception = LookupError("named, and made a response")
    elif kind == "late":
        return _naming_late(environ, start_response)
    start_response(f"{last} Status", [("Content-Length", "2")])
    return [b"ok"]


def _naming_late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Name the route with the last bytes of a stream, which is early enough."""
    start_response("200 OK", [])
    yield b"first"
    route_of(environ).endpoint = "/named/late"
    yield b"last"
