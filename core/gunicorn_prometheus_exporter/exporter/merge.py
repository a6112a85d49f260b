"""Merges the blocks of all processes into one value per exposed sample.

The rules are those of prometheus_client's `MultiProcessCollector` (0.26), but for one: gauges of
the `live` modes count while the process that wrote them lives; there, until its file is deleted.
What does not depend on values (which cells make up which sample, in what order) is worked out once
for certain layouts, as a `Plan`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gunicorn_prometheus_exporter.exporter.columns import (
    Combine,
    Merged,
    Program,
    column,
    exact_sum,
)
from gunicorn_prometheus_exporter.exporter.text import go_float
from gunicorn_prometheus_exporter.storage.blocks import Block, Layout, has_timestamps
from gunicorn_prometheus_exporter.storage.contract import ARCHIVE
from gunicorn_prometheus_exporter.storage.layout import Series

Labels = tuple[tuple[str, str], ...]
PlanKey = tuple[tuple[Layout, str, str], ...]

_COMBINE: Mapping[str, Combine] = {"sum": exact_sum, "min": min, "max": max}
"""What merges the values of a gauge, by its mode. Those of other types are added."""


class Line(NamedTuple):
    """One exposed sample."""

    sample: str
    labels: Labels


class Family(NamedTuple):
    """The exposed samples of one metric. `type` is counter, gauge, histogram or summary."""

    name: str
    type: str
    help: str
    lines: tuple[Line, ...]


@dataclass(slots=True)
class _Group:
    """The samples of a family that share their labels (but `le`), in order of appearance."""

    samples: dict[str, Merged] = field(default_factory=dict)
    buckets: dict[float, Merged] = field(default_factory=dict)

    def values(self) -> Iterator[Merged]:
        return itertools.chain(self.samples.values(), self.buckets.values())


@dataclass(slots=True)
class _Draft:
    """A family in the making. Its kind is that of the first block in which it appears."""

    kind: str
    help: str
    groups: dict[Labels, _Group] = field(default_factory=dict)


def shown(blocks: Iterable[Block]) -> list[Block]:
    """Return the blocks that count, those of dead processes last.

    Left out are the `live` gauges of processes that are gone. Where a metric has changed its kind,
    the order lets processes of now decide on it.
    """
    counted = [block for block in blocks if block.live or not block.kind.startswith("gauge_live")]
    return sorted(counted, key=lambda block: block.owner.endswith(ARCHIVE))


def plan_key(blocks: Iterable[Block]) -> PlanKey:
    """Return what a plan depends on: blocks with the same key can be merged by the same plan."""
    return tuple((block.layout, block.kind, block.owner) for block in blocks)


class Plan:
    """How the values of blocks with certain layouts make up the exposed samples."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        """Work out the merge of `blocks`, which are all shown."""
        self.key = plan_key(blocks)
        drafts = dict(sorted(_collect(blocks).items()))
        self._program = _program(drafts.values())
        lines = {name: list(_lines(name, draft)) for name, draft in drafts.items()}
        self.families = tuple(
            Family(name, _type(draft.kind), draft.help, tuple(line for line, _ in lines[name]))
            for name, draft in drafts.items()
        )
        self._order = column([value.position for found in lines.values() for _, value in found])

    def values(self, blocks: Sequence[Block]) -> Sequence[float]:
        """Return the value of each line of all families; `ABSENT` for one that is not shown."""
        return self._order(self._program.run(_cells(blocks)))


def _type(kind: str) -> str:
    return kind.partition("_")[0]


def _cells(blocks: Iterable[Block]) -> list[float]:
    """Return all values in one list, each followed by its timestamp where there are any."""
    cells: list[float] = []
    for block in blocks:
        if has_timestamps(block.kind):
            pairs = zip(block.values, block.timestamps, strict=True)
            cells.extend(itertools.chain.from_iterable(pairs))
        else:
            cells += block.values
    return cells


def _collect(blocks: Sequence[Block]) -> dict[str, _Draft]:
    """Return all families, with the cells of each of their samples."""
    drafts: dict[str, _Draft] = {}
    found: dict[tuple[str, str], dict[int, list[int]]] = {}
    start = 0
    for block in blocks:
        owner = block.owner if _is_per_process(block.kind) else ""
        # Blocks share their series objects, which are much cheaper to look up than their texts.
        known = found.setdefault((block.kind, owner), {})
        width = 2 if has_timestamps(block.kind) else 1
        for cell, series in zip(itertools.count(start, width), block.layout.series):
            cells = known.get(id(series))
            if cells is None:
                cells = known[id(series)] = _cells_of(series, block, drafts)
            cells.append(cell)
        start += width * len(block.layout.series)
    return drafts


def _cells_of(series: Series, block: Block, drafts: dict[str, _Draft]) -> list[int]:
    """Return the list of cells that those of `series` join; a loose one if it is not shown."""
    if not series.family or not series.sample:
        return []
    draft = drafts.setdefault(series.family, _Draft(block.kind, series.help))
    if draft.kind != block.kind:
        return []
    if block.kind == "histogram" and (text := dict(series.labels).get("le")) is not None:
        return _bucket_cells(draft, series.labels, text)
    group = draft.groups.setdefault(_exposed_labels(series, block), _Group())
    return group.samples.setdefault(series.sample, Merged()).cells


def _bucket_cells(draft: _Draft, labels: Labels, text: str) -> list[int]:
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        return []
    group = draft.groups.setdefault(tuple(pair for pair in labels if pair[0] != "le"), _Group())
    return group.buckets.setdefault(bound, Merged()).cells


def _is_per_process(kind: str) -> bool:
    return kind in ("gauge_all", "gauge_liveall")


def _exposed_labels(series: Series, block: Block) -> Labels:
    if not block.kind.startswith("gauge_"):
        return series.labels
    labels = tuple(pair for pair in series.labels if pair[0] != "pid")
    return (*labels, ("pid", block.owner)) if _is_per_process(block.kind) else labels


def _program(drafts: Iterable[_Draft]) -> Program:
    """Return the steps that compute all samples of `drafts`."""
    by_mode: dict[str, list[Merged]] = {mode: [] for mode in (*_COMBINE, "mostrecent")}
    histograms = []
    for draft in drafts:
        values = [value for group in draft.groups.values() for value in group.values()]
        if _is_per_process(draft.kind):
            for value in values:
                del value.cells[:-1]  # the last of several counts, as in prometheus_client
        mode = draft.kind.removeprefix("gauge_").removeprefix("live")
        by_mode.get(mode, by_mode["sum"]).extend(values)
        histograms += [_in_order(group) for group in draft.groups.values() if group.buckets]
    program = Program()
    for mode, combine in _COMBINE.items():
        program.fold(combine, by_mode[mode])
    program.newest(by_mode["mostrecent"])
    program.running_sums(histograms)
    return program


def _in_order(group: _Group) -> list[Merged]:
    return [group.buckets[bound] for bound in sorted(group.buckets)]


def _lines(name: str, draft: _Draft) -> Iterator[tuple[Line, Merged]]:
    """Yield the exposed samples of a family in order, each with its value."""
    for labels, group in draft.groups.items():
        for sample, value in group.samples.items():
            if not (group.buckets and sample == f"{name}_count"):
                yield Line(sample, labels), value
        for bound in sorted(group.buckets):
            yield Line(f"{name}_bucket", (*labels, ("le", go_float(bound)))), group.buckets[bound]
        if group.buckets:
            yield Line(f"{name}_count", labels), _in_order(group)[-1]
