"""Reserving bytes before they are mapped: touching a hole on a full disk kills with SIGBUS."""

from __future__ import annotations

import os

_CHUNK = 1 << 16


def reserve(fd: int, offset: int, length: int) -> None:
    """Make sure that `length` bytes from `offset` of the file exist; raises OSError if not."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, offset, length)
        return
    end = offset + length
    position = max(offset, os.fstat(fd).st_size)
    while position < end:
        position += os.pwrite(fd, bytes(min(_CHUNK, end - position)), position)
