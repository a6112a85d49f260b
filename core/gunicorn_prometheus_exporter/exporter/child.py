"""The exporter process as its parent sees it: started, alive, asked to leave, gone.

Nothing here waits, not even in a master whose `os`, `subprocess`, `select` and `socket` a preloaded
application has let gevent or eventlet patch: their versions wait in an event loop of their own, or
take SIGCHLD from gunicorn. What is used here is what they leave alone.
"""

from __future__ import annotations

import fcntl
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import cast

from gunicorn_prometheus_exporter.exporter.order import LOADER, Order, encode


class ExporterChild:
    """A running exporter process."""

    def __init__(self, pid: int, life: io.FileIO, *, serves: bool) -> None:
        """Take over the process `pid`, whose death closes the pipe that `life` reads."""
        self.serves = serves
        """Whether it has a socket to serve on."""
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


def spawn(order: Order) -> ExporterChild:
    """Start the process that carries out `order`, with the descriptors in it; raises OSError."""
    life, life_write = _pipe()
    reader = io.FileIO(life)
    try:
        os.set_blocking(life, False)
        pid = _execute({**order, "fds": [*order["fds"], life_write]})
    except OSError:
        reader.close()
        raise
    finally:
        os.close(life_write)
    return ExporterChild(pid, reader, serves=order["listener_fd"] is not None)


def _execute(order: Order) -> int:
    program = sys.executable or ""
    title = f"gunicorn: metrics exporter [{order['title']}]"  # not read; it is for `ps`
    bytecode = ["-B"] if sys.dont_write_bytecode else []
    arguments = [program, "-I", "-S", *bytecode, "-c", LOADER, title]
    with _pipe_holding(encode(order)) as standard_input, _inheritable(order["fds"]):
        actions = [(os.POSIX_SPAWN_DUP2, standard_input.fileno(), 0), *_output_streams()]
        return _posix_spawn()(program, arguments, os.environ, file_actions=actions, setsigmask=())


def _posix_spawn() -> Callable[..., int]:
    """Return the system's own way to start a process.

    It runs no code of ours between fork and exec, copies no memory, and is no parent that waits.
    """
    monkey = sys.modules.get("gevent.monkey")
    spawn = monkey.get_original("os", "posix_spawn") if monkey else os.posix_spawn
    return cast("Callable[..., int]", spawn)


def _output_streams() -> list[tuple[int, int, str, int, int]]:
    """Return what silences standard output, and standard error too where that is none."""
    silenced = [1] if _is_stream(2) else [1, 2]
    return [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in silenced]


def _is_stream(fd: int) -> bool:
    """Return whether `fd` is open, and not as a file of Python's under a free number."""
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


@contextmanager
def _inheritable(fds: Sequence[int]) -> Iterator[None]:
    before = [os.get_inheritable(fd) for fd in fds]
    try:
        for fd in fds:
            os.set_inheritable(fd, True)
        yield
    finally:
        for fd, was_inheritable in zip(fds, before, strict=True):
            os.set_inheritable(fd, was_inheritable)


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, whose numbers no standard stream of a child will replace."""
    ends = os.pipe()
    if min(ends) > 2:
        return ends
    try:
        read_end, write_end = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in ends)
    finally:
        os.close(ends[0])
        os.close(ends[1])
    return read_end, write_end


def _pipe_holding(data: bytes) -> io.FileIO:
    """Return the read end of a pipe with `data` in it; raises BlockingIOError if it is too long."""
    read_end, write_end = _pipe()
    reader = io.FileIO(read_end)
    with io.FileIO(write_end, "w") as writer:
        os.set_blocking(write_end, False)
        if writer.write(data) != len(data):
            reader.close()
            raise BlockingIOError("the order to the metrics process is longer than a pipe holds")
    return reader
