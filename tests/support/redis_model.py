"""What the scripts do in Redis, in a few lines of Python, for simulations that need many."""

from __future__ import annotations

from collections.abc import Sequence

from gunicorn_prometheus_exporter.redis.channel import Answer, Archive, Reply
from gunicorn_prometheus_exporter.redis.snapshot import Schema, Snapshot


class RedisModel:
    """A Redis whose clock stands still until it is moved. It answers as `channel.Channel` does."""

    def __init__(self) -> None:
        """Begin empty."""
        self.now = 1_700_000_000_000
        """Milliseconds."""
        self.flush()

    def flush(self) -> None:
        """Lose everything."""
        self.snapshots: dict[str, Snapshot] = {}
        self.texts: dict[bytes, bytes] = {}
        self.absorbed: dict[str, tuple[int, bytes]] = {}
        self.born: int | None = None

    def publish(
        self, snapshots: Sequence[Snapshot], schemas: Sequence[Schema] = (), *, read: bool = False
    ) -> Reply:
        """Do as the script PUBLISH, which also forgets schemas."""
        self.texts |= {one.id: one.packed for one in schemas}
        answers = [self._store(one) for one in snapshots]
        return Reply(self.now, list(self.snapshots.values()) if read else None, answers, 0)

    def _store(self, new: Snapshot) -> Answer:
        for one in new.absorbed:
            if one not in self.absorbed:
                self.absorbed[one] = self.now, b""
                self.snapshots.pop(one, None)
        old = self.snapshots.get(new.id)
        if new.id in self.absorbed:
            return Answer("absorbed", self.absorbed[new.id][1])
        if old is not None and old.sequence >= new.sequence:
            return Answer("stale", b"%016d" % old.sequence)
        if new.schema_id not in self.texts:
            return Answer("schema", b"")
        self.born = self.now if self.born is None else self.born
        self.snapshots[new.id] = new.stamped(new.stamp or self.now)
        return Answer("stored", b"new" if old is None else b"")

    def read(self) -> Reply:
        """Do as the script READ."""
        return Reply(self.now, list(self.snapshots.values()), [], 0)

    def schemas(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return those of the schemas that are there."""
        return {one: self.texts[one] for one in ids if one in self.texts}

    def fold(self, archive: Archive, settle: float, remember: float) -> bool:
        """Do as the script FOLD."""
        if self.born is None or self.now - self.born < settle * 1000:
            return False
        for one in archive.victims:
            held = self.snapshots.get(one.id)
            if held is None or held.sequence != one.sequence:
                return False
        self.absorbed = {
            one: (when, raw)
            for one, (when, raw) in self.absorbed.items()
            if self.now - when <= remember * 1000
        }
        for one in archive.victims:
            held = self.snapshots.pop(one.id)
            self.absorbed[one.id] = self.now, raw_of(held)
        self.texts[archive.schema.id] = archive.schema.packed
        self.snapshots[archive.id] = Snapshot(archive.id, 1, self.now, archive.body)
        return True


def raw_of(snapshot: Snapshot) -> bytes:
    """Return a snapshot as it stands in Redis."""
    return b"%016d%016d" % (snapshot.stamp, snapshot.sequence) + snapshot.body
