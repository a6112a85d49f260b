"""How many connections wait to be accepted: the sign that there are too few workers."""

from __future__ import annotations

import os
import socket
import struct

_UNACKED = struct.Struct("24xI")
"""`tcpi_unacked` of `struct tcp_info` in <linux/tcp.h>: for a listener, its accept queue."""

# <linux/netlink.h>, <linux/sock_diag.h> and <linux/unix_diag.h>
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_UDIAG_SHOW_RQLEN = 0x10
_UNIX_DIAG_RQLEN = 4
_REQUEST = struct.Struct("=IHHII BBHIIIQ")
"""`struct nlmsghdr` and `struct unix_diag_req`."""
_ANSWER = struct.Struct("=4xH28xHI")
"""The message's type after its length, then the type and the first number of its attribute."""
_ANY = 0xFFFFFFFF
_ANY_COOKIE = 0xFFFFFFFFFFFFFFFF


def backlog_of(listener: socket.socket) -> int | None:
    """Return the length of the accept queue of `listener`; None where nobody can tell."""
    try:
        if listener.family in (socket.AF_INET, socket.AF_INET6):
            return _tcp_backlog(listener)
        if listener.family == socket.AF_UNIX:
            return _unix_backlog(listener)
    except (AttributeError, OSError):  # another system than Linux, or a sandbox
        return None
    return None


def _tcp_backlog(listener: socket.socket) -> int | None:
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(_UNACKED.unpack_from(info)[0]) if len(info) >= _UNACKED.size else None


def _unix_backlog(listener: socket.socket) -> int | None:
    """Ask the kernel for the receive queue of a unix socket, as `ss -xl` does."""
    inode = os.fstat(listener.fileno()).st_ino
    request = _REQUEST.pack(
        _REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0,
        socket.AF_UNIX, 0, 0, _ANY, inode, _UDIAG_SHOW_RQLEN, _ANY_COOKIE,
    )  # fmt: skip
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.send(request)
        answer = kernel.recv(4096, socket.MSG_DONTWAIT)
    if len(answer) < _ANSWER.size:
        return None
    message, attribute, waiting = _ANSWER.unpack_from(answer)
    if (message, attribute) != (_SOCK_DIAG_BY_FAMILY, _UNIX_DIAG_RQLEN):
        return None
    return int(waiting)
