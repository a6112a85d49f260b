"""What a WSGI environ says of its request, whatever the client put into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def path_of(environ: Mapping[str, Any]) -> str:
    """Return the path below the deployment prefix; bytes that are no UTF-8 are replaced."""
    path: str = environ.get("PATH_INFO") or "/"
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def request_bytes(environ: Mapping[str, Any]) -> int:
    """Return the announced size of the request's body, 0 where there is none or it is nonsense."""
    length: str = environ.get("CONTENT_LENGTH") or ""
    return int(length) if length.isascii() and length.isdigit() else 0
