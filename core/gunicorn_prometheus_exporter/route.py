"""The seam between adapters and workers: how a framework names the request in hand.

A worker measures each request once. What it cannot know is the route template, and the exception
that the framework turned into a response. An adapter tells both by filling the request's `Route`,
which it finds (or makes) with `route_of()` in the WSGI `environ` or the ASGI `scope`:

    route = route_of(environ)
    route.endpoint = "/users/<int:id>"

Nothing else crosses the seam, so a request is counted once however many adapters see it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

ROUTE_KEY = "gunicorn_prometheus_exporter.route"
"""The key of `environ` and `scope` under which the `Route` of a request stands."""

UNMATCHED = "<unmatched>"
"""The endpoint of every request that no route answers."""


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """What an adapter decides for all requests of one application. Compared by identity.

    buckets: bounds of `gunicorn_request_duration_seconds` in seconds; None for the setting.
    group_status: label statuses as `2xx` instead of `200`.
    """

    buckets: tuple[float, ...] | None = None
    group_status: bool = False


DEFAULT_POLICY = Policy()


class Route:
    """What is known of one request beyond its bytes. Every field may stay as it is.

    endpoint: the route template with a leading slash; None while nobody named it.
    exception: what the application raised, also where the framework made a response of it.
    excluded: leave this request out of the per-endpoint metrics and of every worker metric.
    labels: extra `(name, value)` pairs for the per-endpoint metrics, the same names each time.
    policy: the application's `Policy`.
    measured: an adapter measures this request itself, as there is no worker of ours; any other
        adapter that sees it only labels.
    """

    __slots__ = ("endpoint", "exception", "excluded", "labels", "measured", "policy")

    def __init__(self) -> None:
        self.endpoint: str | None = None
        self.exception: BaseException | None = None
        self.excluded = False
        self.labels: tuple[tuple[str, str], ...] = ()
        self.policy: Policy = DEFAULT_POLICY
        self.measured = False


def route_of(environ: MutableMapping[str, Any]) -> Route:
    """Return the `Route` of the request whose WSGI environ or ASGI scope this is."""
    route: Route | None = environ.get(ROUTE_KEY)
    if route is None:
        route = environ[ROUTE_KEY] = Route()
    return route
