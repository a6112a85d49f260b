"""How many connections wait to be accepted: the sign that there are too few workers."""

from __future__ import annotations

import socket
import struct

_UNACKED = struct.Struct("24xI")
"""`tcpi_unacked` of `struct tcp_info` in <linux/tcp.h>: for a listener, its accept queue."""


def backlog_of(listener: socket.socket) -> int | None:
    """Return the length of the accept queue of `listener`; None where nobody can tell."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except (AttributeError, OSError):
        return None
    return int(_UNACKED.unpack_from(info)[0]) if len(info) >= _UNACKED.size else None
