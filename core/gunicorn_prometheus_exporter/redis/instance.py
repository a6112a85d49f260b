"""The gunicorn instance at hand, as one of those that share a Redis."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple

from gunicorn_prometheus_exporter.redis.identity import Identity
from gunicorn_prometheus_exporter.redis.snapshot import Packer, Schema, Snapshot
from gunicorn_prometheus_exporter.storage.blocks import Block


class Taken(NamedTuple):
    """A snapshot of this instance, and what is in it."""

    snapshot: Snapshot
    schema: Schema
    blocks: list[Block]


class Instance:
    """Takes the snapshots of one instance."""

    def __init__(self, identity: Identity, read: Callable[[], list[Block]], name: str = "") -> None:
        """Take snapshots of what `read` returns.

        name: what the instance is shown as; empty for the host's name and the beginning of its id.
        """
        self.identity = identity
        self._read = read
        self._name = name
        self._packer = Packer()

    @property
    def id(self) -> str:
        """The id of the instance."""
        return self.identity.id

    @property
    def name(self) -> str:
        """What the instance is shown as."""
        return self.name_as(self.id)

    def name_as(self, identity: str) -> str:
        """Return what the instance is shown as under another id."""
        return self._name or f"{socket.gethostname()}-{identity[:8]}"

    def take(self, identity: str = "") -> Taken | None:
        """Return a snapshot of now; None while another process publishes this instance.

        identity: the id that it goes under, if not under that of the instance.
        """
        if not self.identity.is_ours():
            return None
        # The number first: what has a higher one is never older.
        sequence = self.identity.next_sequence()
        blocks = self._read()
        identity = identity or self.id
        schema, body = self._packer.pack(blocks, self.name_as(identity))
        return Taken(Snapshot(identity, sequence, 0, body), schema, blocks)
