"""Ports for programs that cannot pick one themselves."""

from __future__ import annotations

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nobody listens on now. Another process may take it: retry then."""
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
