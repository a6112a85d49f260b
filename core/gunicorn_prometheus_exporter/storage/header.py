"""The header page of a slot: who owns it and how that process is, in shared memory.

The page is an array of doubles in native byte order, each read and written in one aligned access.
"""

from __future__ import annotations

import enum
import mmap
import os

from gunicorn_prometheus_exporter.storage.contract import Region

PAGE = 4096
MAGIC = 7041776.0
"""The first double of a header that was written by this version of the layout."""


class State(enum.IntEnum):
    """Where a worker is in its life. A slot nobody holds is `STOPPED`, whatever its header says."""

    STOPPED = 0
    BOOTING = 1
    RUNNING = 2
    QUITTING = 3
    ABORTING = 4


class Field(enum.IntEnum):
    """The index of each double in a header. Times are Unix times in seconds."""

    MAGIC = 0
    PID = 1
    AGE = 2
    """How many workers the master had started, this one included."""
    STARTED = 3
    STATE = 4
    STATE_SINCE = 5
    CLAIMS = 6
    """How many processes have owned this slot."""
    CPU_BASE = 8
    """CPU seconds of the slot's former owners, kept by the exporter alone, as are the next two."""
    CPU_SEEN = 9
    CPU_PID = 10


class Header:
    """The mapped header page of one slot."""

    def __init__(self, region: Region) -> None:
        """Map the page of `region`; the file descriptor stays the caller's."""
        if os.fstat(region.fd).st_size < region.offset + PAGE:
            raise ValueError("the slot's header is not complete")
        self._map = mmap.mmap(region.fd, PAGE, offset=region.offset)
        self._fields = memoryview(self._map).cast("d")

    def __getitem__(self, field: Field) -> float:
        return self._fields[field]

    def __setitem__(self, field: Field, value: float) -> None:
        self._fields[field] = value

    def close(self) -> None:
        """Unmap the page."""
        self._fields.release()
        self._map.close()
