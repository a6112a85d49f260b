"""What one process exchanges with Redis: it publishes, reads, gives back what was lost, and folds.

Nothing here knows of threads, or of what to do when Redis is away: whatever redis-py raises is
raised, and everything may be called again after that.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gunicorn_prometheus_exporter.redis.channel import Answer, Archive, Reply
from gunicorn_prometheus_exporter.redis.compaction import (
    choose_victims,
    make_archive,
    make_correction,
    successor_id,
)
from gunicorn_prometheus_exporter.redis.instance import Instance, Taken
from gunicorn_prometheus_exporter.redis.known import Known
from gunicorn_prometheus_exporter.redis.others import Other, Unpacker
from gunicorn_prometheus_exporter.redis.snapshot import (
    CorruptSnapshotError,
    Schema,
    Snapshot,
    parse_schema,
    parse_snapshot,
)
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.blocks import Block

IDLE_SECONDS = 60.0
"""How often all snapshots are read where nobody scrapes, so as to give back what Redis loses."""

SETTLE_SECONDS = 300.0
"""How long Redis must not have lost anything before instances are folded into an archive."""

_BATCH = 50
"""How many snapshots are given back at once."""

Clock = Callable[[], float]
"""Returns seconds, from any beginning, that never go back."""


class Talks(Protocol):
    """What is said to Redis; see `channel.Channel`."""

    def publish(
        self, snapshots: Sequence[Snapshot], schemas: Sequence[Schema] = (), *, read: bool = False
    ) -> Reply:
        """Store what is newer than what is there; if `read`, return all snapshots then."""

    def read(self) -> Reply:
        """Return all snapshots."""

    def schemas(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the packed text of those of the schemas `ids` that are there."""

    def fold(self, archive: Archive, settle: float, remember: float) -> bool:
        """Put an archive in the place of its victims, if they are all as we know them."""


class View(NamedTuple):
    """What is known at one moment. `local` is what this instance published then."""

    local: list[Block] | None
    others: Sequence[Other]
    now: float
    """Redis's time in milliseconds when the others were read."""
    at: float
    """Our own clock then."""

    def redis_now(self, now: float) -> float:
        """Return Redis's time in milliseconds when our own clock says `now`."""
        return self.now + (now - self.at) * 1000


class Exchange:
    """One process's side of what is shared."""

    def __init__(
        self,
        settings: Settings,
        channel: Talks,
        instance: Instance | None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Prepare to publish `instance`, or only to read."""
        self._settings = settings
        self._channel = channel
        self._instance = instance
        self._clock = clock
        self.view = View(None, (), 0.0, 0.0)
        self.corrupt = 0
        """How much of what was read last was not what we write there."""
        self._known = Known(instance.id if instance else None)
        self._unpacker = Unpacker()
        self._lost: list[Snapshot] = []
        self._stored_schema = b""
        self._last_read = -math.inf
        self._fold_at = -math.inf

    @property
    def idle(self) -> bool:
        """Whether it is time to read, though nobody asks for it."""
        return self._clock() - self._last_read >= IDLE_SECONDS

    def run(self, *, read: bool) -> None:
        """Publish and, if so wanted, read; then `view` is new."""
        taken = self._instance.take() if self._instance else None
        if taken is not None:
            self._publish(taken, read=read)
        elif read:
            self._learn(self._channel.read(), None)

    def maintain(self) -> None:
        """Give back what was missing when Redis was read last, and fold what is old."""
        lost, self._lost = self._lost, []
        for start in range(0, len(lost), _BATCH):
            batch = lost[start : start + _BATCH]
            self._channel.publish(batch, self._unpacker.schemas_of(batch))
        self._fold()

    def start_anew(self) -> None:
        """Take nothing for granted of what Redis has of us."""
        self._stored_schema = b""

    def _publish(self, taken: Taken, *, read: bool) -> None:
        from redis.exceptions import ResponseError

        schemas = [] if taken.schema.id == self._stored_schema else [taken.schema]
        try:
            reply = self._channel.publish([taken.snapshot], schemas, read=read)
            if reply.answers[0].word == "schema":
                reply = self._channel.publish([taken.snapshot], [taken.schema], read=read)
            if reply.answers[0].word == "absorbed":
                taken, reply = self._rejoin(taken, reply.answers[0].detail, read=read)
        except ResponseError:  # it can still be read where it is full, or a replica
            if read:
                self._learn(self._channel.read(), taken.blocks)
            raise
        self._note(reply.answers[0], taken)
        if read:
            self._learn(reply, taken.blocks)

    def _note(self, answer: Answer, taken: Taken) -> None:
        """Note what became of our own snapshot."""
        self._stored_schema = taken.schema.id if answer.word == "stored" else b""
        if answer == Answer("stored", b"new") and taken.snapshot.sequence > 1:
            self._last_read = -math.inf  # Redis has lost something: look what next time
        elif answer.word == "stale" and self._instance is not None:
            self._instance.identity.skip_to(int(answer.detail))

    def _learn(self, reply: Reply, local: list[Block] | None) -> None:
        now = self._clock()
        if now - self._last_read > self._remember_seconds() and self._last_read > -math.inf:
            self._known.forget()  # it may be in archives that nobody remembers the contents of
        lost = self._known.learn(reply.seen or ())
        others = self._unpacker.unpack(self._known.snapshots, self._channel.schemas)
        self.corrupt = reply.corrupt + self._unpacker.corrupt
        self._last_read = now
        self.view = View(local, others, reply.now, now)
        # Live ones publish themselves.
        live = self._settings.redis_live_seconds * 1000
        self._lost = [one for one in lost if one.is_archive or reply.now - one.stamp >= live]

    # Instances that are gone

    def _remember_seconds(self) -> float:
        return 2 * self._settings.redis_compact_seconds

    def _fold(self) -> None:
        """Try, not too often, to fold what has been gone for long; others may be faster."""
        now, after = int(self.view.redis_now(self._clock())), self._settings.redis_compact_seconds
        if self._clock() < self._fold_at:
            return
        victims = choose_victims([one.snapshot for one in self.view.others], now, after * 1000)
        if not victims:
            return
        self._fold_at = self._clock() + min(IDLE_SECONDS, after) * random.uniform(0.5, 1.0)
        blocks = {one.snapshot: one.blocks for one in self.view.others if one.snapshot in victims}
        remember = self._remember_seconds()
        archive = make_archive(blocks, now, remember * 1000)
        self._channel.fold(archive, min(SETTLE_SECONDS, after), remember)

    def _rejoin(self, taken: Taken, former: bytes, *, read: bool) -> tuple[Taken, Reply]:
        """Go on under another id: what we were has been taken for gone, and is in an archive.

        What the archive has of us is taken off again by a correction. Ids and correction follow
        from what we were, so that it does not matter if this is cut off and done again.
        """
        assert self._instance is not None
        before = taken.snapshot.id
        successor = successor_id(before)
        again = self._instance.take(successor) or taken
        blocks = self._former_blocks(before, former)
        name = self._instance.name_as(successor)
        schema, correction = make_correction(
            successor, taken.blocks if blocks is None else blocks, name
        )
        reply = self._channel.publish(
            [again.snapshot, correction], [again.schema, schema], read=read
        )
        self._instance.identity.rename(successor)
        self._known.own = successor
        return again, reply

    def _former_blocks(self, identity: str, raw: bytes) -> list[Block] | None:
        """Return what an archive has of us; None where that was lost."""
        try:
            former = parse_snapshot(identity, raw)
            packed = self._channel.schemas([former.schema_id])
            schema = parse_schema(former.schema_id, packed[former.schema_id], {})
            return former.blocks(schema)
        except (KeyError, CorruptSnapshotError):
            return None
