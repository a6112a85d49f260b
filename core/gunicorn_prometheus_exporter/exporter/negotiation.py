"""What a client accepts: its `Accept` and `Accept-Encoding` headers, read as RFC 9110 has them.

A header that makes no sense never raises; what cannot be read counts as not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

_OPENMETRICS = "application/openmetrics-text"


class _Preference(NamedTuple):
    """One element of the header: `text/plain; version=0.0.4; q=0.5`."""

    name: str
    parameters: Mapping[str, str]
    quality: float


def prefers_openmetrics(accept: str) -> bool:
    """Return whether OpenMetrics 1.0.0 is asked for by name and at least as much as plain text.

    Wildcards mean the text format, which every reader of metrics knows.
    """
    asked = list(_preferences(accept))
    openmetrics = _quality(asked, _OPENMETRICS, "1.0.0")
    if not openmetrics:
        return False
    ranges = (("text/plain", "0.0.4"), ("text/*", ""), ("*/*", ""))
    qualities = (_quality(asked, name, version) for name, version in ranges)
    text = next((quality for quality in qualities if quality is not None), 0.0)
    return openmetrics >= text


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether gzip is accepted, and no less than the plain body where that is named."""
    asked = {one.name: one.quality for one in _preferences(accept_encoding)}
    names = (name for name in ("gzip", "x-gzip", "*") if name in asked)
    gzip = asked.get(next(names, ""), 0.0)
    return gzip > 0 and gzip >= asked.get("identity", 0.0)


def _quality(asked: list[_Preference], name: str, version: str) -> float | None:
    """Return the best quality given to `name` in any or in this `version`; None for not named."""
    matching = (
        one.quality
        for one in asked
        if one.name == name and one.parameters.get("version", version) == version
    )
    return max(matching, default=None)


def _preferences(header: str) -> Iterator[_Preference]:
    for element in header.split(","):
        name, *rest = (part.strip() for part in element.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
        if name:
            yield _Preference(name.lower(), parameters, _number(parameters.get("q", "1")))


def _number(text: str) -> float:
    """Return the quality that `text` spells; 0 for what is none."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
