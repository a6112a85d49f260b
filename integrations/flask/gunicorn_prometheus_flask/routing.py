"""Finds the URL rule of a request, also where Flask itself has none to show."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from flask import Flask, Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import MapAdapter, RequestRedirect, Rule


def rule_of(app: Flask, request: Request) -> Rule | None:
    """Return the rule that answers `request`, or None where no rule does.

    Flask leaves `url_rule` empty for a 405 and for a redirect to the canonical URL: then it is the
    rule that allows another method, and the rule that the redirect leads to.
    """
    if request.url_rule is not None:
        return request.url_rule
    adapter = app.create_url_adapter(request)
    if adapter is None:
        return None
    return _match(adapter, request.path, request.method, request.script_root)


def _match(adapter: MapAdapter, path: str, method: str, script_root: str) -> Rule | None:
    try:
        return _matched(adapter, path, method)
    except RequestRedirect as redirect:
        target = _path_within(redirect.new_url, script_root)
    return None if target == path else _match_target(adapter, target, method)


def _match_target(adapter: MapAdapter, path: str, method: str) -> Rule | None:
    try:
        return _matched(adapter, path, method)
    except RequestRedirect:  # one that leads on: its end is no business of this request
        return None


def _matched(adapter: MapAdapter, path: str, method: str) -> Rule | None:
    """Return the rule for `path`, by another method if need be; raise RequestRedirect."""
    try:
        return adapter.match(path, method, return_rule=True)[0]
    except MethodNotAllowed as error:
        if not error.valid_methods:
            return None
        return adapter.match(path, next(iter(error.valid_methods)), return_rule=True)[0]
    except RequestRedirect:
        raise
    except HTTPException:
        return None


def _path_within(url: str, script_root: str) -> str:
    return "/" + unquote(urlsplit(url).path).removeprefix(script_root).lstrip("/")
