"""What stands behind a Django request, the same for WSGI and ASGI."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from django.http import HttpRequest


def environ_of(request: HttpRequest) -> MutableMapping[str, Any]:
    """Return the WSGI environ or the ASGI scope of `request`: what its server sees too."""
    for attribute in ("environ", "scope"):
        found = getattr(request, attribute, None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    return request.META  # type: ignore[no-any-return]


def request_bytes(request: HttpRequest) -> int:
    """Return the announced size of the request's body, 0 where there is none or it is nonsense."""
    length = request.META.get("CONTENT_LENGTH") or ""
    return int(length) if length.isascii() and length.isdigit() else 0
