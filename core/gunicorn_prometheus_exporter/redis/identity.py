"""Which instance this is, and how often it has published: kept in the memory of its metrics.

So both survive the exporter process, and the master too where another one takes over (USR2).
"""

from __future__ import annotations

import os
import struct

from gunicorn_prometheus_exporter.storage.locks import try_lock
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume

_FIELDS = struct.Struct("=16sq")


class Identity:
    """The name and the sequence numbers of one gunicorn instance."""

    def __init__(self, volume: MemoryVolume) -> None:
        """Open the identity that stands in `volume`."""
        self._region = volume.open_identity()
        self._held = False

    @property
    def id(self) -> str:
        """What tells this instance from every other one: 32 hexadecimal digits."""
        return self._read()[0].hex()

    @property
    def sequence(self) -> int:
        """The last sequence number that was given out."""
        return self._read()[1]

    def is_ours(self) -> bool:
        """Return whether this process is the one that publishes.

        For a moment there may be two, when a master takes over; the lock goes with the first.
        """
        self._held = self._held or try_lock(self._region)
        return self._held

    def next_sequence(self) -> int:
        """Return a number higher than all before."""
        identity, sequence = self._read()
        self._write(identity, sequence + 1)
        return sequence + 1

    def skip_to(self, sequence: int) -> None:
        """Go on after `sequence`, if that is higher than what was given out."""
        identity, last = self._read()
        self._write(identity, max(last, sequence))

    def rename(self, identity: str) -> None:
        """Be another instance from now on."""
        self._write(bytes.fromhex(identity), self._read()[1])

    def close(self) -> None:
        """Leave the publishing to others."""
        os.close(self._region.fd)

    def _read(self) -> tuple[bytes, int]:
        data = os.pread(self._region.fd, _FIELDS.size, self._region.offset)
        identity, sequence = _FIELDS.unpack(data)
        return identity, sequence

    def _write(self, identity: bytes, sequence: int) -> None:
        os.pwrite(self._region.fd, _FIELDS.pack(identity, sequence), self._region.offset)
