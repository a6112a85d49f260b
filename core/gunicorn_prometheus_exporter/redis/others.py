"""The other instances of the application, as this process sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gunicorn_prometheus_exporter.redis.compaction import totals
from gunicorn_prometheus_exporter.redis.snapshot import (
    CorruptSnapshotError,
    Schema,
    Snapshot,
    parse_schema,
)
from gunicorn_prometheus_exporter.storage.blocks import Block
from gunicorn_prometheus_exporter.storage.layout import Series


class Other(NamedTuple):
    """One instance elsewhere, or an archive of several."""

    snapshot: Snapshot
    name: str
    blocks: list[Block]
    totals: list[Block]
    """Those of its blocks that count when it is gone."""

    def is_live(self, now: float, live_ms: float) -> bool:
        """Return whether it has published in the last `live_ms` milliseconds."""
        return not self.snapshot.is_archive and now - self.snapshot.stamp < live_ms


class Unpacker:
    """Unpacks snapshots, and each only once."""

    def __init__(self) -> None:
        """Begin with nothing unpacked."""
        self._others: dict[str, Other] = {}
        self._schemas: dict[bytes, Schema] = {}
        self._series: dict[Series, Series] = {}
        self.corrupt = 0
        """How many of the last snapshots could not be unpacked."""

    def unpack(
        self,
        snapshots: Sequence[Snapshot],
        fetch: Callable[[Sequence[bytes]], dict[bytes, bytes]],
    ) -> list[Other]:
        """Return all `snapshots` unpacked, with what `fetch` returns for schemas not yet known.

        Where a snapshot cannot be unpacked, the one of the same instance before it is used.
        """
        wanted = {one.schema_id for one in snapshots if self._is_new(one)} - self._schemas.keys()
        self.corrupt = 0
        if wanted:
            self._add_schemas(fetch(sorted(wanted)))
        self._others = {one.id: other for one in snapshots if (other := self._unpack(one))}
        self._forget_unused(snapshots)
        return list(self._others.values())

    def schemas_of(self, snapshots: Iterable[Snapshot]) -> list[Schema]:
        """Return the schemas of `snapshots`, as far as they are known."""
        ids = {one.schema_id for one in snapshots}
        return [schema for one, schema in self._schemas.items() if one in ids]

    def _is_new(self, snapshot: Snapshot) -> bool:
        known = self._others.get(snapshot.id)
        return known is None or known.snapshot.sequence != snapshot.sequence

    def _add_schemas(self, packed: dict[bytes, bytes]) -> None:
        for one, text in packed.items():
            try:
                self._schemas[one] = parse_schema(one, text, self._series)
            except CorruptSnapshotError:
                self.corrupt += 1

    def _unpack(self, snapshot: Snapshot) -> Other | None:
        known = self._others.get(snapshot.id)
        if known is not None and not self._is_new(snapshot):
            return known._replace(snapshot=snapshot)
        try:
            blocks = snapshot.blocks(self._schemas[snapshot.schema_id])
        except (KeyError, CorruptSnapshotError):
            self.corrupt += 1
            return known
        return Other(snapshot, snapshot.name, blocks, totals(blocks))

    def _forget_unused(self, snapshots: Iterable[Snapshot]) -> None:
        used = {one.schema_id for one in snapshots}
        self._schemas = {one: schema for one, schema in self._schemas.items() if one in used}
        count = sum(len(part.layout.series) for one in self._schemas.values() for part in one.parts)
        if len(self._series) > 2 * count + 1000:
            self._series.clear()
