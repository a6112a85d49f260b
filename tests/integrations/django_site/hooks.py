"""What settings name by dotted paths."""

from __future__ import annotations

from django.http import HttpRequest


def refuse(request: HttpRequest) -> bool:
    """Let nobody see the metrics."""
    return False


def method_length(request: HttpRequest) -> int:
    """Return the value of an extra label."""
    return len(request.method)
