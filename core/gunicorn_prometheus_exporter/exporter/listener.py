"""The listening socket of the metrics endpoint."""

from __future__ import annotations

import fcntl
import os
import socket

BACKLOG = 128
"""Scrapes that may wait while the exporter process is started again."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host`, an address or a name; raises OSError.

    `::` listens on IPv4 too, as servers do by default. Port 0 takes a free one.
    """
    name = _bare(host)
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        listener = _create(name, port, family)
    except socket.gaierror:
        listener = _create(name, port, socket.AF_INET6)
    return _above_standard_streams(listener)


def _create(host: str, port: int, family: socket.AddressFamily) -> socket.socket:
    dual = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)


def _bare(host: str) -> str:
    return host.strip("[]")


def _above_standard_streams(listener: socket.socket) -> socket.socket:
    """Return `listener` under a number that no standard stream of a child will replace."""
    if listener.fileno() > 2:
        return listener
    with listener:
        return socket.socket(fileno=fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def adopt(fd: int, host: str, port: int) -> socket.socket:
    """Return the inherited socket `fd` if it listens where we want to; raises OSError otherwise.

    The descriptor is ours from then on, and closed where it is of no use.
    """
    listener = socket.socket(fileno=fd)
    try:
        listener.set_inheritable(False)
        if not _listens_on(listener, _bare(host), port):
            raise OSError(f"the inherited socket does not listen on {host} port {port}")
    except OSError:
        listener.close()
        raise
    return listener


def _listens_on(listener: socket.socket, host: str, port: int) -> bool:
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    bound_host, bound_port = listener.getsockname()[:2]
    if port not in (0, bound_port):
        return False
    packed = _packed(listener.family, host)
    return packed is None or packed == _packed(listener.family, bound_host)


def _packed(family: int, host: str) -> bytes | None:
    """Return the bytes of an address, None for a name and for another family's address."""
    try:
        return socket.inet_pton(family, host)
    except OSError:
        return None


def metrics_url(listener: socket.socket, host: str, *, tls: bool) -> str:
    """Return the address of the metrics, with the port that `listener` really has."""
    name = _bare(host)
    authority = f"[{name}]" if ":" in name else name
    return f"{'https' if tls else 'http'}://{authority}:{listener.getsockname()[1]}/metrics"


def describe(error: OSError) -> str:
    """Return what the system says, without what `socket.create_server` adds to it."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror or error)
