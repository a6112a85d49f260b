"""The scripts in a real Redis do what the model says that the simulation runs on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from gunicorn_prometheus_exporter.redis.channel import Archive, Channel, Reply
from gunicorn_prometheus_exporter.redis.scripts import Keys, keys_of
from gunicorn_prometheus_exporter.redis.snapshot import (
    CorruptSnapshotError,
    Packer,
    Schema,
    Snapshot,
    pack_body,
    parse_schema,
    parse_snapshot,
)
from gunicorn_prometheus_exporter.storage.blocks import Block, Layout
from gunicorn_prometheus_exporter.storage.layout import Series
from tests.support.redis import RedisServer, running_redis
from tests.support.redis_model import RedisModel, raw_of

KEYS = keys_of("gunicorn", "shop")
IDS = [f"{number:032x}" for number in range(4)]


def schema_of(*names: str, kind: str = "counter") -> tuple[Schema, bytes]:
    """Return a schema of counters called `names`, and the body of a snapshot of them."""
    layout = Layout(tuple(Series(name, f"{name}_total", (), "Help.") for name in names))
    values = [float(index) for index in range(len(names))]
    times = [1.5 for _ in names] if kind.endswith("mostrecent") else []
    return Packer().pack([Block(kind, "0", True, layout, values, times)], "host")


SCHEMAS = [schema_of("a"), schema_of("a", "b"), schema_of("c")]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One Redis for all tests here."""
    with running_redis() as running:
        yield running


@pytest.fixture
def channel(server: RedisServer) -> Iterator[Channel]:
    """A channel to an empty Redis."""
    channel = Channel(server.client, KEYS, expire_seconds=100)
    with contextlib.closing(server.client()) as client:
        client.flushall()
    yield channel
    channel.close()


@dataclass
class Step:
    """One command, given to Redis and to the model."""

    what: str
    who: str
    sequence: int
    schema: int
    stamp: int
    absorbs: tuple[str, ...]
    victims: tuple[str, ...]


STEPS = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(["publish", "publish", "announce", "fold", "flush"]),
        who=st.sampled_from(IDS),
        sequence=st.integers(1, 6),
        schema=st.integers(0, 2),
        stamp=st.sampled_from([1, 1_700_000_000_000]),
        absorbs=st.just(()) | st.just((IDS[1],)),
        victims=st.lists(st.sampled_from(IDS), unique=True, min_size=1).map(tuple),
    ),
    max_size=20,
)


@given(steps=STEPS)
@settings(max_examples=150)
def test_redis_and_its_model_answer_alike(server: RedisServer, steps: list[Step]) -> None:
    model, channel = RedisModel(), Channel(server.client, KEYS, expire_seconds=100)
    with contextlib.closing(server.client()) as client:
        client.flushall()
        for number, step in enumerate(steps):
            if step.what == "flush":
                client.flushall()
                model.flush()
            else:
                assert carry_out(channel, step, number) == carry_out(model, step, number)
            assert contents(channel.read()) == contents(model.read())
            held = client.hgetall(KEYS.absorbed)
            assert {_text(one): raw[32:] for one, raw in held.items()} == {
                one: raw[16:] for one, (_, raw) in model.absorbed.items()
            }
    channel.close()


def _text(field: bytes | str) -> str:
    return field.decode() if isinstance(field, bytes) else field


def carry_out(talks: Channel | RedisModel, step: Step, number: int) -> object:
    """Return what Redis answers, as far as it does not depend on the time."""
    schema, body = SCHEMAS[step.schema]
    if step.what == "fold":
        held = {one.id: one for one in talks.read().seen or ()}
        victims = [held.get(one, Snapshot(one, 9, 0, b"")) for one in step.victims]
        body = pack_body(schema, [False], [0.0] * width(step.schema), "", absorbed={})
        return talks.fold(Archive(f"{number + 100:032x}", schema, body, victims), 0, 1000)
    if step.absorbs and step.who not in step.absorbs:
        gone = dict.fromkeys(step.absorbs, 1.0)
        body = pack_body(schema, [True], [0.0] * width(step.schema), "", absorbed=gone)
    snapshot = Snapshot(step.who, step.sequence, step.stamp, body)
    schemas = [schema] if step.what == "announce" else []
    reply = talks.publish([snapshot], schemas, read=True)
    return reply.answers[0].word, reply.answers[0].detail[32:], contents(reply)


def width(schema: int) -> int:
    """Return how many series a schema has."""
    return len(SCHEMAS[schema][0].parts[0].layout.series)


def contents(reply: Reply) -> set[tuple[str, int, bytes]]:
    """Return what is in a reply but for the times."""
    return {(one.id, one.sequence, one.body) for one in reply.seen or ()}


def test_a_snapshot_is_stamped_with_the_time_of_redis(
    channel: Channel, server: RedisServer
) -> None:
    schema, body = SCHEMAS[0]
    reply = channel.publish([Snapshot(IDS[0], 1, 0, body)], [schema], read=True)
    with contextlib.closing(server.client()) as client:
        seconds, microseconds = client.time()

    assert reply.seen is not None
    assert reply.seen[0].stamp == reply.now
    assert abs(seconds * 1000 + microseconds / 1000 - reply.now) < 10_000


def test_a_script_that_redis_has_forgotten_is_sent_again(
    channel: Channel, server: RedisServer
) -> None:
    schema, body = SCHEMAS[0]
    channel.publish([Snapshot(IDS[0], 1, 0, body)], [schema])
    with contextlib.closing(server.client()) as client:
        client.script_flush()

    assert channel.publish([Snapshot(IDS[0], 2, 0, body)]).answers[0].word == "stored"


def test_all_keys_expire_and_every_publication_puts_it_off(
    channel: Channel, server: RedisServer
) -> None:
    schema, body = SCHEMAS[0]
    channel.publish([Snapshot(IDS[0], 1, 0, body)], [schema])
    with contextlib.closing(server.client(decode_responses=True)) as client:
        keys = set(client.keys("*"))
        client.pexpire(KEYS.snapshots, 1000)
        channel.publish([Snapshot(IDS[0], 2, 0, body)])
        lives = [client.pttl(key) for key in keys]

    assert keys == {KEYS.snapshots, KEYS.schemas}
    assert all(50_000 < life <= 100_000 for life in lives)


def test_schemas_that_nobody_uses_any_more_go(channel: Channel, server: RedisServer) -> None:
    """An application whose routes are discovered one by one has a new schema for each of them."""
    for number in range(1, 60):
        schema, body = schema_of(*(f"s{index}" for index in range(number)))
        channel.publish([Snapshot(IDS[0], number, 0, body)], [schema])

    with contextlib.closing(server.client()) as client:
        assert client.hlen(KEYS.schemas) < 20
        assert client.hexists(KEYS.schemas, schema.id)


def test_garbage_in_the_hash_is_skipped_and_counted(channel: Channel, server: RedisServer) -> None:
    schema, body = SCHEMAS[0]
    channel.publish([Snapshot(IDS[0], 1, 0, body)], [schema])
    with contextlib.closing(server.client()) as client:
        client.hset(KEYS.snapshots, "x", b"\xff")
        client.hset(KEYS.snapshots, IDS[1], b"0" * 40)
    reply = channel.read()

    assert [one.id for one in reply.seen or ()] == [IDS[0]]
    assert reply.corrupt == 2


def test_the_keys_of_an_application_are_in_one_slot_of_a_cluster() -> None:
    assert Keys(*KEYS) == (
        "gunicorn:{shop}:metric:snapshots",
        "gunicorn:{shop}:meta:schemas",
        "gunicorn:{shop}:meta:absorbed",
    )


@pytest.mark.parametrize("kind", ["counter", "gauge_all", "gauge_mostrecent"])
def test_what_is_packed_comes_out_again(kind: str) -> None:
    schema, body = schema_of("b", "a", kind=kind)
    parsed = parse_schema(schema.id, schema.packed, {})
    (block,) = parse_snapshot(IDS[0], raw_of(Snapshot(IDS[0], 7, 5, body))).blocks(parsed)

    assert [one.family for one in block.layout.series] == ["a", "b"]
    assert (block.kind, block.owner, block.live) == (kind, "0", True)
    assert block.values == [1.0, 0.0]
    assert list(block.timestamps) == ([1.5, 1.5] if kind == "gauge_mostrecent" else [])


@pytest.mark.parametrize("schema_id", [SCHEMAS[0][0].id, b"x" * 20])
def test_a_schema_that_is_not_what_it_is_called_is_refused(schema_id: bytes) -> None:
    with pytest.raises(CorruptSnapshotError):
        parse_schema(schema_id, SCHEMAS[1][0].packed, {})


def test_equal_series_have_one_schema_in_whatever_order_they_came() -> None:
    assert schema_of("a", "b")[0].id == schema_of("b", "a")[0].id
