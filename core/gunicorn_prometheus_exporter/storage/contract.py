"""The contract of a storage: what writers and reader ask of the place that holds the bytes.

A *slot* is a place that one process at a time owns through a kernel lock; its name is `0`, `1`, …
for workers, `m0`, … for masters and `c0`, … for processes that an application forked itself. A slot
has one *header* page and at most one *arena* per *kind* of metric. Kinds are `counter`,
`histogram`, `summary` and `gauge_<mode>`, as prometheus_client names its files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

GAUGE_MODES = (
    "all", "liveall", "min", "livemin", "max", "livemax",
    "sum", "livesum", "mostrecent", "livemostrecent",
)  # fmt: skip
KINDS = ("counter", "histogram", "summary", *(f"gauge_{mode}" for mode in GAUGE_MODES))

ARCHIVE = "dead"
"""The owner of the gauges that dead processes leave behind, folded into one sample per series."""

ROLES = {"worker": "", "master": "m", "child": "c"}
"""What the names of slots start with, by the role of the process that owns them."""


class Region(NamedTuple):
    """A range of bytes that can be mapped: `limit` bytes at most, from `offset` of the file `fd`.

    The caller owns `fd` and closes it.
    """

    fd: int
    offset: int
    limit: int


class ArenaName(NamedTuple):
    """One arena: the kind of its metrics and the slot (or foreign process id) that writes it."""

    kind: str
    owner: str


class Volume(Protocol):
    """A place that holds slots and arenas: a directory, or one anonymous memory file."""

    def open_header(self, slot: str, *, create: bool) -> Region:
        """Return the header page of `slot`, whose first byte also is its lock.

        Raises FileNotFoundError if it is absent and not to be created, OSError if it cannot be.
        """

    def open_arena(self, name: ArenaName) -> Region:
        """Return the arena `name` as it is; raises FileNotFoundError if there is none."""

    def create_arena(self, name: ArenaName, size: int) -> Region:
        """Return a new arena of `size` bytes, all zero after its head, with its space reserved.

        Its generation differs from that of any former arena in this place.
        Raises OSError where there is no space.
        """

    def slots(self) -> Iterator[str]:
        """Yield the name of each slot that was ever claimed."""

    def arenas(self) -> Iterator[ArenaName]:
        """Yield the name of each arena, in a stable order."""

    def delete_arena(self, name: ArenaName) -> None:
        """Remove an arena whose owner is gone."""
