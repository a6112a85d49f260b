"""A randomised simulation of instances, readers and a Redis that loses, delays and forgets."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import hypothesis.strategies as st
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gunicorn_prometheus_exporter.redis.channel import Archive, Reply
from gunicorn_prometheus_exporter.redis.exchange import Exchange
from gunicorn_prometheus_exporter.redis.identity import Identity
from gunicorn_prometheus_exporter.redis.instance import Instance
from gunicorn_prometheus_exporter.redis.snapshot import Schema, Snapshot
from gunicorn_prometheus_exporter.settings import Settings
from gunicorn_prometheus_exporter.storage.blocks import Block, Layout
from gunicorn_prometheus_exporter.storage.layout import Series
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from tests.support.redis_model import RedisModel

SETTINGS = Settings(
    redis_enabled=True, redis_live_seconds=10, redis_compact_seconds=1000, redis_interval=1
)
LAYOUT = Layout(
    (
        Series("done", "done_total", (("worker_id", "0"),), "By worker."),
        Series("all", "all_total", (), "Of the application."),
    )
)
INSTANCES = 3

T = TypeVar("T")


class Lost(OSError):
    """No answer came."""


class Link:
    """The way of one process to Redis, on which something may go wrong with the next command."""

    def __init__(self, model: RedisModel, late: list[Callable[[], object]]) -> None:
        """Begin without a fault; `late` takes the commands that arrive later."""
        self._model = model
        self._late = late
        self.fault = "none"

    def publish(
        self, snapshots: Sequence[Snapshot], schemas: Sequence[Schema] = (), *, read: bool = False
    ) -> Reply:
        """Store snapshots, if nothing goes wrong."""
        return self._do(lambda: self._model.publish(snapshots, schemas, read=read))

    def read(self) -> Reply:
        """Return all snapshots, if nothing goes wrong."""
        return self._do(self._model.read)

    def schemas(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return schemas, if nothing goes wrong."""
        return self._do(lambda: self._model.schemas(ids))

    def fold(self, archive: Archive, settle: float, remember: float) -> bool:
        """Fold, if nothing goes wrong."""
        return self._do(lambda: self._model.fold(archive, settle, remember))

    def _do(self, command: Callable[[], T]) -> T:
        fault, self.fault = self.fault, "none"
        if fault == "late":
            self._late.append(command)
        if fault in ("lost", "late"):
            raise Lost
        result = command()
        if fault == "twice":
            command()
        if fault == "unanswered":
            raise Lost
        return result


class Node:
    """One instance with its exporter process; or, without a volume, a central exporter."""

    def __init__(self, simulation: Simulation, *, publishes: bool = True) -> None:
        """Start, and know nothing of the others."""
        self._simulation = simulation
        self.volume = MemoryVolume.create() if publishes else None
        self.worked: list[float] = []
        self.shown = 0.0
        self._identity: Identity | None = None
        self.restart_exporter()

    @property
    def value(self) -> float:
        """What this instance has counted."""
        return sum(self.worked)

    def restart_exporter(self) -> None:
        """Forget what the process knew."""
        if self._identity is not None:
            self._identity.close()
        instance = None
        if self.volume is not None:
            self._identity = Identity(self.volume)
            instance = Instance(self._identity, self._blocks)
        self.link = Link(self._simulation.model, self._simulation.late)
        self.exchange = Exchange(SETTINGS, self.link, instance, self._simulation.clock)
        self.shown = 0.0

    def _blocks(self) -> list[Block]:
        return [Block("counter", "0", True, LAYOUT, [self.value, self.value], ())]

    def run(self, *, read: bool = True, fault: str = "none") -> None:
        """Exchange once, as the agent's thread does."""
        self.link.fault = fault
        try:
            self.exchange.run(read=read or self.exchange.idle)
            self.exchange.maintain()
        except Lost:
            self.exchange.start_anew()
        self.link.fault = "none"

    def totals(self) -> tuple[float, float]:
        """Return what a scrape shows: the sums over all worker ids, and of the application."""
        blocks = [block for other in self.exchange.view.others for block in other.totals]
        blocks += self._blocks() if self.volume else []
        by_name: dict[str, list[float]] = {"done_total": [], "all_total": []}
        for block in blocks:
            for series, value in zip(block.layout.series, block.values, strict=True):
                by_name[series.sample].append(value)
        return math.fsum(by_name["done_total"]), math.fsum(by_name["all_total"])

    def end(self) -> None:
        """Release what the node holds."""
        if self._identity is not None:
            self._identity.close()
        if self.volume is not None:
            os.close(self.volume.fd)


NODES = st.integers(0, INSTANCES)
PUBLISHERS = st.integers(0, INSTANCES - 1)
FAULTS = st.sampled_from(["none", "none", "lost", "unanswered", "twice", "late"])
AMOUNTS = st.sampled_from([1.0, 0.1, 0.7, 1e-9, 12345.678])


class Simulation(RuleBasedStateMachine):
    """What each process shows never falls, is never too much, and in the end is exact."""

    def __init__(self) -> None:
        """Begin with some instances and a central exporter."""
        super().__init__()
        self.model = RedisModel()
        self.late: list[Callable[[], object]] = []
        self.gone: list[Node] = []
        self.is_whole = True

    @initialize()
    def start(self) -> None:
        """Let everybody begin."""
        self.nodes = [Node(self) for _ in range(INSTANCES)] + [Node(self, publishes=False)]

    def clock(self) -> float:
        """Return the clock that everybody shares."""
        return self.model.now / 1000

    def truth(self) -> float:
        """Return all that was ever counted."""
        return math.fsum(node.value for node in (*self.nodes, *self.gone))

    @rule(who=PUBLISHERS, amount=AMOUNTS)
    def work(self, who: int, amount: float) -> None:
        self.nodes[who].worked.append(amount)

    @rule(who=NODES, read=st.booleans(), fault=FAULTS)
    def exchange(self, who: int, read: bool, fault: str) -> None:
        self.model.now += 500
        self.nodes[who].run(read=read, fault=fault)

    @rule(who=NODES)
    def scrape(self, who: int) -> None:
        self.nodes[who].run()

    @precondition(lambda self: self.late)
    @rule(which=st.integers(0, 100))
    def arrive(self, which: int) -> None:
        self.late.pop(which % len(self.late))()

    @rule(who=NODES)
    def kill_exporter(self, who: int) -> None:
        self.settle()
        self.nodes[who].restart_exporter()

    @rule(who=PUBLISHERS)
    def replace_instance(self, who: int) -> None:
        """It publishes a last time and ends; everybody sees that before anything else happens."""
        self.settle()
        self.nodes[who].run()
        self.gone.append(self.nodes[who])
        self.nodes[who] = Node(self)
        self.everybody_reads()

    @rule()
    def flush(self) -> None:
        """Redis loses all; those who are there are the only ones to know."""
        self.everybody_reads()
        self.model.flush()
        self.is_whole = False

    @rule(absent=st.sets(PUBLISHERS))
    def let_time_pass(self, absent: set[int]) -> None:
        """So much that who was absent, or has gone, is folded into an archive.

        Not so much that this is forgotten before they come back.
        """
        self.settle()
        self.everybody_reads()
        self.late.clear()
        for _ in range(30):
            self.model.now += 40_000
            for index, node in enumerate(self.nodes):
                if index not in absent:
                    node.run()

    def settle(self) -> None:
        """Let those who know give back what was lost, before who knows may be lost too."""
        if not self.is_whole:
            for _ in range(3):
                self.model.now += 11_000
                self.everybody_reads()
            self.is_whole = True

    def everybody_reads(self) -> None:
        for node in self.nodes:
            node.run()

    @invariant()
    def nothing_shown_falls_or_is_too_much(self) -> None:
        for node in getattr(self, "nodes", ()):
            by_worker, total = node.totals()
            assert total >= node.shown
            assert max(by_worker, total) <= self.truth() * (1 + 1e-12) + 1e-9
            node.shown = total

    def teardown(self) -> None:
        """Let everything settle: then all show the truth."""
        if not hasattr(self, "nodes"):
            return
        for command in self.late:
            command()
        for _ in range(6):
            self.model.now += 11_000
            self.everybody_reads()
        try:
            for node in self.nodes:
                for total in node.totals():
                    assert math.isclose(total, self.truth(), rel_tol=1e-12, abs_tol=1e-9)
        finally:
            for node in (*self.nodes, *self.gone):
                node.end()


TestSimulation = Simulation.TestCase
TestSimulation.settings = hypothesis_settings(
    max_examples=60, stateful_step_count=25, deadline=None
)
