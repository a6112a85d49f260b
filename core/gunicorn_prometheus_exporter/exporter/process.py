"""The exporter process: a clean interpreter that serves the metrics on a socket of its parent.

It says nothing, but for one line on standard error when it cannot go on. It leaves when its parent
does, and always with status 0.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from typing import NoReturn

from gunicorn_prometheus_exporter.exporter.assembly import build_server
from gunicorn_prometheus_exporter.exporter.order import Order, settings_from_json

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PARENT_SECONDS = 1.0
_MAX_FD = 4096
"""How many descriptors are looked at where the system does not list them."""


def run(order: Order) -> NoReturn:
    """Serve until told to stop, or until the parent is gone."""
    close_others(order["fds"])
    listener = socket.socket(fileno=order["listener_fd"])
    settings = settings_from_json(order["settings"])
    server = build_server(settings, order["volume"], listener, order["title"])
    drop_privileges(order["uid"], order["gid"])
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    leave_with_parent(order["parent"])
    server.run()
    os._exit(0)


def close_others(keep: Collection[int]) -> None:
    """Close every descriptor but the standard streams and those in `keep`.

    The listeners of gunicorn are inheritable; a copy would keep the application's port half open.
    """
    try:
        candidates = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        candidates = list(range(_MAX_FD))
    for fd in candidates:
        if fd > 2 and fd not in keep:
            with suppress(OSError):
                os.close(fd)


def drop_privileges(uid: int, gid: int) -> None:
    """Become the workers' user and group, where we are root and they are not."""
    if os.geteuid() != 0 or (uid, gid) == (os.geteuid(), os.getegid()):
        return
    with suppress(PermissionError):  # a user namespace may deny it, and has no groups to lose
        os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)


def leave_with_parent(parent: int) -> None:
    """Make this process end soon after `parent`, whatever ends that."""
    if sys.platform == "linux":
        # After the change of user, which would clear it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(0)
