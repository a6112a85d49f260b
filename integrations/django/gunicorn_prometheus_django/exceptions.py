"""The exceptions that Django turns into responses."""

from __future__ import annotations

import sys
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest
from django.http.multipartparser import MultiPartParserError

from gunicorn_prometheus_django.requests import environ_of
from gunicorn_prometheus_exporter.route import route_of

CLIENT_ERRORS = (Http404, PermissionDenied, MultiPartParserError, BadRequest, SuspiciousOperation)
"""What Django answers with a 4xx: the way to say so, not a failure."""


def listen() -> None:
    """Have every exception that Django answers with a 500 noted; again is no more."""
    got_request_exception.connect(_on_exception, dispatch_uid=__name__)


def note(request: HttpRequest, exception: BaseException) -> None:
    """Tell whoever measures `request` that it raised `exception`, unless it is a 4xx by design."""
    if not isinstance(exception, CLIENT_ERRORS):
        route_of(environ_of(request)).exception = exception


def _on_exception(request: HttpRequest | None = None, **signal: Any) -> None:
    # Django sends the signal from within its except clause, and restores it in other threads.
    exception = sys.exc_info()[1]
    if request is not None and exception is not None:
        note(request, exception)
