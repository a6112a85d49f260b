"""Processes forked by a test, which end without running anything of the test's own."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator


class Forked:
    """A forked process that runs one function; `say()` in it wakes `wait_for_word()` outside."""

    def __init__(self, run: Callable[[Callable[[bytes], None]], None]) -> None:
        """Fork, and call `run` with `say` in the child, which ends with status 0 if it returns."""
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(write)
            return
        status = 1
        try:
            os.close(self._read)
            run(lambda word: (os.write(write, word), None)[1])
            status = 0
        except BaseException:  # noqa: BLE001 - the child of a test reports and ends, whatever it was
            traceback.print_exc()
        finally:
            os._exit(status)

    def wait_for_word(self) -> bytes:
        """Return what the child says next; empty if it ended instead."""
        return os.read(self._read, 1024)

    def kill(self) -> None:
        """End the child by SIGKILL and wait for its end."""
        os.kill(self.pid, signal.SIGKILL)
        self.join()

    def join(self) -> int:
        """Wait for the end of the child and return its exit status, negative for a signal."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._read)
        return status


@contextlib.contextmanager
def forked(run: Callable[[Callable[[bytes], None]], None]) -> Iterator[Forked]:
    """Yield a child that has said its first word, and kill it afterwards."""
    child = Forked(run)
    try:
        assert child.wait_for_word(), "the forked process ended before it was ready"
        yield child
    finally:
        child.kill()


def rest() -> None:
    """Sleep until a signal ends this process."""
    while True:
        signal.pause()
