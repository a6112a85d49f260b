"""What we say to Redis, one round trip at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn_prometheus_exporter.redis.scripts import FOLD, PUBLISH, READ, Keys, Script
from gunicorn_prometheus_exporter.redis.snapshot import (
    CorruptSnapshotError,
    Schema,
    Snapshot,
    parse_snapshot,
)

if TYPE_CHECKING:
    import redis

BORN = b"born"
"""The field that is no snapshot: when the first one was stored."""


class Answer(NamedTuple):
    """What became of one snapshot: a word, and a detail that depends on it."""

    word: str
    detail: bytes


class Reply(NamedTuple):
    """What Redis said. `now` is its time in milliseconds, `seen` is None unless asked for."""

    now: int
    seen: list[Snapshot] | None
    answers: list[Answer]
    corrupt: int


class Archive(NamedTuple):
    """What takes the place of `victims`."""

    id: str
    schema: Schema
    body: bytes
    victims: Sequence[Snapshot]


class Channel:
    """A connection, opened when it is first used. Every method raises what redis-py raises."""

    def __init__(
        self, connect: Callable[[], redis.Redis], keys: Keys, expire_seconds: float
    ) -> None:
        """Prepare to talk, by a client that `connect` returns, about the hashes `keys`."""
        self._connect = connect
        self._keys = keys
        self._life = int(expire_seconds * 1000)
        self._client: Any = None

    def publish(
        self, snapshots: Sequence[Snapshot], schemas: Sequence[Schema] = (), *, read: bool = False
    ) -> Reply:
        """Store what is newer than what is there; if `read`, return all snapshots then."""
        arguments: list[Any] = [self._life, "all" if read else "", len(schemas)]
        for schema in schemas:
            arguments += [schema.id, schema.packed]
        for one in snapshots:
            gone = list(one.absorbed)
            arguments += [one.id, one.sequence, one.stamp, one.body, len(gone), *gone]
        now, seen, words = self._run(PUBLISH, arguments)
        answers = [
            Answer(word.decode(), detail)
            for word, detail in zip(words[::2], words[1::2], strict=True)
        ]
        found, corrupt = _snapshots(seen)
        return Reply(int(now), found if read else None, answers, corrupt)

    def read(self) -> Reply:
        """Return all snapshots, in one round trip also where the script is new to Redis."""
        now, seen = self._opened().eval(READ.text, len(self._keys), *self._keys)
        found, corrupt = _snapshots(seen)
        return Reply(int(now), found, [], corrupt)

    def schemas(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the packed text of those of the schemas `ids` that are there."""
        packed = self._opened().hmget(self._keys.schemas, list(ids))
        return {one: text for one, text in zip(ids, packed, strict=True) if text is not None}

    def fold(self, archive: Archive, settle: float, remember: float) -> bool:
        """Put an archive in the place of its victims, if they are all as we know them.

        settle: seconds that the snapshots must have been there without having been lost.
        remember: seconds for which it is remembered what instances were absorbed.
        """
        arguments: list[Any] = [self._life, int(settle * 1000), int(remember * 1000)]
        arguments += [archive.id, archive.schema.id, archive.schema.packed, archive.body]
        for victim in archive.victims:
            arguments += [victim.id, victim.sequence]
        return bool(self._run(FOLD, arguments))

    def close(self) -> None:
        """Drop the connection; the next use opens another."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(OSError):
                client.close()

    def _opened(self) -> Any:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _run(self, script: Script, arguments: Sequence[Any]) -> Any:
        from redis.exceptions import NoScriptError

        client, count = self._opened(), len(self._keys)
        try:
            return client.evalsha(script.sha, count, *self._keys, *arguments)
        except NoScriptError:
            return client.eval(script.text, count, *self._keys, *arguments)


def _snapshots(flat: Sequence[bytes]) -> tuple[list[Snapshot], int]:
    """Return the snapshots among the fields of the hash, and how many fields are none."""
    found, corrupt = [], 0
    for field, raw in zip(flat[::2], flat[1::2], strict=True):
        if field == BORN:
            continue
        try:
            found.append(parse_snapshot(field.decode(errors="replace"), raw))
        except CorruptSnapshotError:
            corrupt += 1
    return found, corrupt
