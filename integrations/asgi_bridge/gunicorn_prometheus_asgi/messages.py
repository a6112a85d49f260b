"""What the messages of an ASGI application mean."""

from __future__ import annotations

from gunicorn_prometheus_exporter.asgi import Message


def ends_response(message: Message) -> bool:
    """Return whether `message` hands over the last byte of a response."""
    kind = message["type"]
    if kind == "http.response.body":
        return not message.get("more_body", False)
    return bool(kind == "http.response.pathsend")
