"""Endpoint labels for applications without an adapter: the path less its variable segments."""

from __future__ import annotations

import functools
import re

from gunicorn_prometheus_exporter.limits import OTHER
from gunicorn_prometheus_exporter.route import UNMATCHED

UNROUTED = "<unrouted>"
"""The endpoint of every request where inferring endpoints is switched off."""

_LONGEST = 200
_VARIABLE = re.compile(
    r"""
      [+-]?\d+(\.\d+)?                                    # numbers
    | [0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}  # UUIDs
    | (0x)?(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{6,}              # hexadecimal
    | \d{4}-\d{2}-\d{2}([T_].*)?                          # dates
    | (?=[^/]*\d)[A-Za-z0-9_\-]{16,}={0,2}                # long tokens with a digit in them
    | [^/]{40,}                                           # anything too long to be a name
    | [^/]*(%|@|=|,|\s|[^\x20-\x7e])[^/]*                 # data, never the name of a route
    """,
    re.VERBOSE,
)


@functools.lru_cache(maxsize=1024)
def template_of(path: str) -> str:
    """Return `path` with each variable-looking segment replaced by `:id`."""
    segments = path.split("/")
    inferred = "/".join(":id" if _VARIABLE.fullmatch(segment) else segment for segment in segments)
    template = "/" + inferred.lstrip("/")
    return template if len(template) <= _LONGEST else OTHER


class EndpointInference:
    """Names the endpoint of requests that nobody named, with a bounded number of names."""

    def __init__(self, in_use: set[str], maximum: int, *, enabled: bool = True) -> None:
        """Infer only if `enabled`, at most `maximum` names with those that are `in_use`."""
        self._names = in_use
        self._maximum = maximum
        self._enabled = enabled

    def endpoint(self, path: str, status: int) -> str:
        """Return the endpoint of a request for `path` (without a query) answered with `status`."""
        if not self._enabled:
            return UNROUTED
        if status in (404, 405):
            return UNMATCHED
        template = template_of(path)
        if template in self._names or len(self._names) < self._maximum:
            self._names.add(template)
            return template
        return OTHER
