"""The accept queue of a listener."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

import pytest

from gunicorn_prometheus_exporter.backlog import backlog_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")


def listener_of(kind: str, folder: Path) -> socket.socket:
    """Return a listening socket of the family `kind`."""
    if kind == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "socket"))
        listener.listen(8)
        return listener
    if kind == "tcp6":
        return socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=8)
    return socket.create_server(("127.0.0.1", 0), backlog=8)


@pytest.mark.parametrize("kind", ["tcp", "tcp6", "unix"])
def test_it_counts_what_waits_to_be_accepted(kind: str, tmp_path: Path) -> None:
    if kind == "tcp6" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listener_of(kind, tmp_path))
        assert backlog_of(listener) == 0

        for _ in range(3):
            client = stack.enter_context(socket.socket(listener.family))
            client.connect(listener.getsockname())
        assert backlog_of(listener) == 3

        accepted, _ = listener.accept()
        accepted.close()
        assert backlog_of(listener) == 2


def test_a_socket_that_does_not_listen_has_none_that_waits(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as lonely:
        assert not backlog_of(lonely)


def test_a_closed_socket_is_no_error() -> None:
    for family in (socket.AF_INET, socket.AF_UNIX):
        listener = socket.socket(family)
        listener.close()
        assert backlog_of(listener) is None
