"""Which URL pattern answers a request, as a template."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver
from django.urls.resolvers import RegexPattern

from gunicorn_prometheus_django.patterns import readable


def match_of(request: HttpRequest, response: HttpResponseBase | None) -> ResolverMatch | None:
    """Return the match of the view that answers `request`, or None where no pattern does.

    To be called after the response is made. What a middleware answered without asking the URL
    patterns is resolved here, and a slash redirect is resolved as the path that it leads to.
    """
    match = getattr(request, "resolver_match", None)
    if match is not None:
        return match
    urlconf = getattr(request, "urlconf", None)
    path = request.path_info
    match = _resolve(path, urlconf)
    if match is None and response is not None and _adds_slash(response, path):
        match = _resolve(path + "/", urlconf)
    return match


def template_of(match: ResolverMatch) -> str:
    """Return the template of `match`: its route, with each regex in it made readable."""
    # The last trial is the one that succeeded: the chain of includes, from the project's URLs to
    # the view. Nothing may be cached by the pattern: one include can stand under two prefixes.
    chain = match.tried[-1] if match.tried else []
    route: str = match.route
    if not any(isinstance(link.pattern, RegexPattern) for link in chain):
        return route
    pieces = [(str(link.pattern), isinstance(link.pattern, RegexPattern)) for link in chain]
    if not _is_joined_from(route, [piece for piece, _ in pieces]):
        return readable(route)
    return "".join(readable(piece) if is_regex else piece for piece, is_regex in pieces)


def _is_joined_from(route: str, pieces: list[str]) -> bool:
    """Return whether `pieces` are still what `route` was made of: a translated one may not be."""
    return route.removeprefix("^") == "".join(piece.removeprefix("^") for piece in pieces)


def _resolve(path: str, urlconf: Any) -> ResolverMatch | None:
    try:
        return get_resolver(urlconf).resolve(path)
    except Resolver404:
        return None


def _adds_slash(response: HttpResponseBase, path: str) -> bool:
    if not 300 <= response.status_code < 400 or path.endswith("/"):
        return False
    target: str = response.headers.get("Location", "")
    return urlsplit(target).path.endswith("/")
