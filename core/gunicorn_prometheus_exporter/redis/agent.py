"""The thread of the exporter process that talks to Redis: it publishes, reads, repairs and folds.

It does so once in every interval, and whenever somebody scrapes: a scrape publishes and reads in
one round trip. So no later scrape, of whatever instance, shows less than an earlier one did.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from gunicorn_prometheus_exporter.redis.channel import Answer, Channel, Reply
from gunicorn_prometheus_exporter.redis.client import reason
from gunicorn_prometheus_exporter.redis.compaction import (
    choose_victims,
    make_archive,
    make_correction,
    successor_id,
)
from gunicorn_prometheus_exporter.redis.health import Health
from gunicorn_prometheus_exporter.redis.instance import Instance, Taken
from gunicorn_prometheus_exporter.redis.known import Known
from gunicorn_prometheus_exporter.redis.others import Other, Unpacker
from gunicorn_prometheus_exporter.redis.snapshot import (
    CorruptSnapshotError,
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


class View(NamedTuple):
    """What is known at one moment. `local` is what this instance published then."""

    local: list[Block] | None
    others: Sequence[Other]
    now: float
    """Redis's time in milliseconds when the others were read, and the monotonic clock then."""
    at: float

    def redis_now(self) -> float:
        """Return Redis's time now, in milliseconds, by the clock of this machine."""
        return self.now + (time.monotonic() - self.at) * 1000


class Agent:
    """Exchanges snapshots with Redis in a thread of its own."""

    def __init__(
        self, settings: Settings, channel: Channel, instance: Instance | None = None
    ) -> None:
        """Prepare to publish `instance`, or only to read; nothing happens before `start()`."""
        self._settings = settings
        self._channel = channel
        self._instance = instance
        self.health = Health(settings.redis_display_url, settings.redis_interval)
        self.view = View(None, (), 0.0, 0.0)
        self._known = Known(instance.id if instance else None)
        self._unpacker = Unpacker()
        self._stored_schema = b""
        self._last_contact = time.monotonic()
        self._last_read = -math.inf
        self._fold_at = 0.0
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="redis", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Publish a last time and end; takes at most `seconds`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def exchange(self, seconds: float) -> View:
        """Return what is known after a round trip that starts now, or what was known before.

        Waits at most `seconds`, and not at all while Redis is known to be away. The view has no
        local samples where there was no such round trip.
        """
        with self._changed:
            if self.health.resting or self._stopping:
                return self.view._replace(local=None)
            self._asked += 1
            ticket = self._asked
            self._changed.notify_all()
            answered = self._changed.wait_for(lambda: self._done >= ticket, seconds)
            is_new = answered and self.health.up
            return self.view if is_new else self.view._replace(local=None)

    # The thread

    def _run(self) -> None:
        while not self._wait():
            self._turn()
        self._turn()
        self._channel.close()

    def _wait(self) -> bool:
        """Wait until there is something to do; return whether that is to end."""
        with self._changed:
            if self.health.resting:
                self._changed.wait_for(lambda: self._stopping, self.health.pause)
            else:
                self._changed.wait_for(
                    lambda: self._stopping or self._asked > self._done,
                    self._settings.redis_interval,
                )
            return self._stopping

    def _turn(self) -> None:
        """Exchange once, whatever comes of it."""
        asked = self._asked
        idle = time.monotonic() - self._last_read >= IDLE_SECONDS
        read = not self._stopping and (asked > self._done or idle)
        try:
            lost = self._exchange(read=read)
            self._note_success()
            self._release(asked)
            if read:
                self._give_back(lost)
                self._fold()
        except Exception as error:  # noqa: BLE001 - without this thread nothing would be published
            self._note_failure(error)
            self._release(self._asked)

    def _release(self, asked: int) -> None:
        """Let those go on who asked up to then."""
        with self._changed:
            self._done = asked
            self._changed.notify_all()

    def _note_success(self) -> None:
        self._last_contact = time.monotonic()
        self.health.succeeded()

    def _note_failure(self, error: Exception) -> None:
        self._channel.close()
        self._stored_schema = b""
        self.health.failed(lambda: reason(error))

    # What is exchanged

    def _exchange(self, *, read: bool) -> list[Snapshot]:
        """Publish, and read if so wanted; return what Redis has lost."""
        taken = self._instance.take() if self._instance else None
        if taken is not None:
            reply = self._publish(taken, read=read)
        elif read or self._instance is None:
            reply = self._channel.read()
        else:
            return []
        local = taken.blocks if taken else None
        return [] if reply.seen is None else self._learn(reply, local)

    def _publish(self, taken: Taken, *, read: bool) -> Reply:
        from redis.exceptions import ResponseError

        schemas = [] if taken.schema.id == self._stored_schema else [taken.schema]
        try:
            reply = self._channel.publish([taken.snapshot], schemas, read=read)
            if reply.answers[0].word == "schema":
                reply = self._channel.publish([taken.snapshot], [taken.schema], read=read)
        except ResponseError:  # it can still be read where it is full, or a replica
            if read:
                self._learn(self._channel.read(), taken.blocks)
            raise
        self._follow(reply.answers[0], taken)
        return reply

    def _follow(self, answer: Answer, taken: Taken) -> None:
        """Do what the answer to our own snapshot asks for."""
        assert self._instance is not None
        if answer == Answer("stored", b"new") and taken.snapshot.sequence > 1:
            self._last_read = -math.inf  # Redis has lost something: look what next time
        self._stored_schema = taken.schema.id if answer.word == "stored" else b""
        if answer.word == "stale":
            self._instance.identity.skip_to(int(answer.detail))
        elif answer.word == "absorbed":
            self._rejoin(self._instance, taken, answer.detail)

    def _learn(self, reply: Reply, local: list[Block] | None) -> list[Snapshot]:
        remember = self._remember_seconds()
        if time.monotonic() - self._last_contact > remember:
            self._known.forget()
        lost = self._known.learn(reply.seen or ())
        others = self._unpacker.unpack(self._known.snapshots, self._channel.schemas)
        self.health.corrupt = reply.corrupt + self._unpacker.corrupt
        self._last_read = time.monotonic()
        self.view = View(local, others, reply.now, self._last_read)
        # Live ones publish themselves.
        live = self._settings.redis_live_seconds * 1000
        return [one for one in lost if one.is_archive or reply.now - one.stamp >= live]

    def _give_back(self, lost: Sequence[Snapshot]) -> None:
        for start in range(0, len(lost), _BATCH):
            batch = lost[start : start + _BATCH]
            self._channel.publish(batch, self._unpacker.schemas_of(batch))

    # Instances that are gone

    def _remember_seconds(self) -> float:
        return 2 * self._settings.redis_compact_seconds

    def _fold(self) -> None:
        """Try, not too often, to fold what has been gone for long; others may be faster."""
        now, after = int(self.view.redis_now()), self._settings.redis_compact_seconds
        if time.monotonic() < self._fold_at:
            return
        victims = choose_victims([one.snapshot for one in self.view.others], now, after * 1000)
        if not victims:
            return
        self._fold_at = time.monotonic() + min(IDLE_SECONDS, after) * random.uniform(0.5, 1.0)
        blocks = {one.snapshot: one.blocks for one in self.view.others if one.snapshot in victims}
        remember = self._remember_seconds()
        archive = make_archive(blocks, now, remember * 1000)
        self._channel.fold(archive, min(SETTLE_SECONDS, after), remember)

    def _rejoin(self, instance: Instance, taken: Taken, former: bytes) -> None:
        """Go on under another id: what we were has been taken for gone, and is in an archive.

        What the archive has of us is taken off again by a correction. Ids and correction follow
        from what we were, so that it does not matter if this is cut off and done again.
        """
        successor = successor_id(taken.snapshot.id)
        name = instance.name_as(successor)
        blocks = self._former_blocks(taken.snapshot.id, former)
        schema, correction = make_correction(
            successor, taken.blocks if blocks is None else blocks, name
        )
        again = instance.take(successor)
        if again is not None:
            self._channel.publish([correction, again.snapshot], [schema, again.schema])
            instance.identity.rename(successor)
            self._known.own = successor

    def _former_blocks(self, identity: str, raw: bytes) -> list[Block] | None:
        """Return what an archive has of us; None where that was lost."""
        try:
            former = parse_snapshot(identity, raw)
            packed = self._channel.schemas([former.schema_id])
            schema = parse_schema(former.schema_id, packed[former.schema_id], {})
            return former.blocks(schema)
        except (KeyError, CorruptSnapshotError):
            return None
