"""What settings name by dotted names."""

from __future__ import annotations

from pyramid.request import Request


def refuse(request: Request) -> bool:
    """Let nobody see the metrics."""
    return False


def method_length(request: Request) -> int:
    """Return the value of an extra label."""
    return len(request.method)
