"""The exporter process: a clean interpreter that serves the metrics on a socket of its parent.

It says nothing, but for one line on standard error when it cannot go on. It leaves when its parent
does, and always with status 0.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from gunicorn_prometheus_exporter.exporter.assembly import build_server, open_volume
from gunicorn_prometheus_exporter.exporter.order import Order, settings_from_json
from gunicorn_prometheus_exporter.exporter.server import Server
from gunicorn_prometheus_exporter.exporter.source import MetricsSource
from gunicorn_prometheus_exporter.parent import ask_for_signal
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.contract import ROLES, Volume
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.slots import is_held

if TYPE_CHECKING:
    from gunicorn_prometheus_exporter.redis.shared import SharedMetrics

_PARENT_SECONDS = 1.0
_LAST_WORKERS_SECONDS = 30.0
_DEATH_SECONDS = 0.3
_LAST_PUBLICATION_SECONDS = 0.8
"""The supervisor kills after two seconds, of which answers under way may have taken one."""
_MAX_FD = 4096
"""How many descriptors are looked at where the system does not list them."""


def run(order: Order) -> NoReturn:
    """Serve, or only publish, until told to stop, or until the parent is gone."""
    close_others(order["fds"])
    settings = settings_from_json(order["settings"])
    volume = open_volume(order["volume"])
    source = MetricsSource(volume)
    shared = _shared(settings, source, volume)
    server = _server(order, settings, source, shared)
    drop_privileges(order["uid"], order["gid"])
    if shared is None:
        leave_with_parent(order["parent"])
    else:
        leave_with_parent(order["parent"], _LAST_WORKERS_SECONDS)
        shared.start()
    _serve(server)
    if shared is not None:
        _wait_for_last_workers(volume, order["parent"])
        shared.stop(_LAST_PUBLICATION_SECONDS)
    os._exit(0)


def _shared(settings: Settings, source: MetricsSource, volume: Volume) -> SharedMetrics | None:
    if not (settings.redis and isinstance(volume, MemoryVolume)):
        return None
    # Here, because it costs memory that only Redis is worth.
    from gunicorn_prometheus_exporter.redis.shared import SharedMetrics

    return SharedMetrics(settings, source, volume)


def _server(
    order: Order, settings: Settings, source: MetricsSource, shared: SharedMetrics | None
) -> Server | None:
    """Return what serves the metrics; None where they are only published."""
    if order["listener_fd"] is None:
        # Before any thread starts, so that no other one takes it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        return None
    listener = socket.socket(fileno=order["listener_fd"])
    server = build_server(settings, source, listener, order["title"], shared=shared)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    return server


def _serve(server: Server | None) -> None:
    if server is None:
        signal.sigwait({signal.SIGTERM})
        return
    server.run()
    server.close_listener()


def _wait_for_last_workers(volume: Volume, parent: int) -> None:
    """Wait, if the parent was killed, for its workers to leave: all they count is published."""
    started = time.monotonic()
    while time.monotonic() < started + _LAST_WORKERS_SECONDS and _has_workers(volume):
        # While threads of it die, the parent still is the parent.
        if os.getppid() == parent and time.monotonic() > started + _DEATH_SECONDS:
            break
        time.sleep(0.02)


def _has_workers(volume: Volume) -> bool:
    slots = (slot for slot in volume.slots() if not slot.startswith(ROLES["master"]))
    return any(is_held(volume, slot) for slot in slots)


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


def leave_with_parent(parent: int, patience: float = 0.0) -> None:
    """Make this process end soon after `parent`, whatever ends that.

    patience: how many seconds it may take after SIGTERM to do what remains to be done.
    """
    ask_for_signal(signal.SIGTERM)  # after the change of user
    threading.Thread(target=_watch_parent, args=(parent, patience), daemon=True).start()


def _watch_parent(parent: int, patience: float = 0.0) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    if patience:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience + _LAST_PUBLICATION_SECONDS)
    os._exit(0)
