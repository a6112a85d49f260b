"""The exporter process as its parent sees it: started, alive, asked to leave, gone.

Nothing here waits, and nothing here may be patched by gevent or eventlet, which an application that
is preloaded into the master may have done to `os` and `subprocess`: their versions wait in a hub.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from gunicorn_prometheus_exporter.exporter.order import LOADER, Order, encode


class ExporterChild:
    """A running exporter process."""

    def __init__(self, pid: int, life: io.FileIO) -> None:
        """Take over the process `pid`, whose death closes the pipe that `life` reads."""
        self.pid = pid
        """0 once the process has been reaped."""
        self.started = time.monotonic()
        self.terminated: float | None = None
        """When we first asked it to leave, on the monotonic clock."""
        self._life = life

    def is_gone(self) -> bool:
        """Return whether the process has ended and been reaped.

        The pipe tells of its end whoever reaps it. Waiting for that too keeps its status from
        gunicorn, which would take it for a worker's.
        """
        if self._life.read(1) is None:
            return False
        self.reap()
        return self.pid == 0

    def reap(self) -> None:
        """Collect the exit status if there is one; fit for signal handlers."""
        pid = self.pid  # read once: a signal handler may reap between two looks
        if pid:
            try:
                reaped, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                reaped = pid  # gunicorn was faster
            if reaped:
                self.pid = 0

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process unless it is gone."""
        self.terminated = self.terminated or time.monotonic()
        pid = self.pid
        if pid and not self.is_gone():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def forget(self) -> None:
        """Close our end of the pipe; the process goes on."""
        self._life.close()


def spawn(order: Order, uses: tuple[int, ...]) -> ExporterChild:
    """Start the process that carries out `order` with the descriptors `uses`; raises OSError."""
    life, life_write = os.pipe()
    reader = io.FileIO(life)
    try:
        os.set_blocking(life, False)
        order = {**order, "life_fd": life_write}
        pid = _execute(order, (*uses, life_write))
    except OSError:
        reader.close()
        raise
    finally:
        os.close(life_write)
    return ExporterChild(pid, reader)


def _execute(order: Order, fds: tuple[int, ...]) -> int:
    arguments = [sys.executable or "", "-I", "-S", *_flags(), "-c", LOADER, _process_title(order)]
    with _pipe_holding(encode(order)) as standard_input:
        process = _popen()(
            arguments,
            stdin=standard_input,
            stdout=subprocess.DEVNULL,
            stderr=None if _is_open(2) else subprocess.DEVNULL,
            close_fds=True,
            pass_fds=fds,
        )
    # We reap it ourselves; without a status subprocess would keep it on a list of its own.
    process.returncode = 0
    return int(process.pid)


def _flags() -> list[str]:
    return ["-B"] if sys.dont_write_bytecode else []


def _process_title(order: Order) -> str:
    """Return the argument by which `ps` shows what the process is; it is not read."""
    return f"gunicorn: metrics exporter [{order['title']}]"


def _pipe_holding(data: bytes) -> io.FileIO:
    """Return the read end of a pipe with `data` in it; raises BlockingIOError if it is too long."""
    read_end, write_end = os.pipe()
    reader = io.FileIO(read_end)
    with io.FileIO(write_end, "w") as writer:
        os.set_blocking(write_end, False)
        if writer.write(data) != len(data):
            reader.close()
            raise BlockingIOError("the order to the metrics process is longer than a pipe holds")
    return reader


def _popen() -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("subprocess", "Popen") if monkey else subprocess.Popen


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
