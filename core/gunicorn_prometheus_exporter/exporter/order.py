"""What the gunicorn master tells the exporter process, and the program that reads it.

The order goes through a pipe, because it holds secrets, which have no place in arguments or in the
environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypedDict

from gunicorn_prometheus_exporter.settings import Settings

LOADER = r"import sys; program, order = sys.stdin.buffer.read().split(b'\0'); exec(program)"
"""What `python -c` is told, short enough to be read in a list of processes."""

BOOT = """\
import os, signal, sys
for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
def leave(kind, error, traceback):
    try:
        line = " ".join(f"{kind.__name__}: {error}".split())
        print(f"The Prometheus metrics process ended: {line}", file=sys.stderr)
    finally:
        os._exit(0)
sys.excepthook = leave
import json
order = json.loads(order)
sys.path += order["sys_path"]
from gunicorn_prometheus_exporter.exporter.process import run
run(order)
"""
"""The program of the exporter process; it stands before the order on standard input.

It ends with status 0 whatever happens, because gunicorn < 26.1 shuts down when any child of its
ends with 3 or 4, and logs an error for every other status.
"""


VolumeSpec = Mapping[str, object]
"""Where the metrics are: `{"directory": path}`, or `{"memory_fd": fd}` which is inherited."""


class Order(TypedDict):
    """Everything the process needs to know."""

    sys_path: list[str]
    """Where modules are found that are not in the standard library."""
    listener_fd: int | None
    """The socket to serve on; None to publish alone."""
    fds: list[int]
    """Every descriptor that the process keeps, one of which only tells its parent that it lives."""
    parent: int
    uid: int
    gid: int
    settings: dict[str, Any]
    volume: VolumeSpec
    title: str


def encode(order: Order) -> bytes:
    """Return what the process reads on standard input."""
    return BOOT.encode() + b"\0" + json.dumps(order).encode()


def settings_from_json(values: Mapping[str, Any]) -> Settings:
    """Return the settings whose fields went through JSON, which knows no tuples."""
    restored: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Settings(**restored)
