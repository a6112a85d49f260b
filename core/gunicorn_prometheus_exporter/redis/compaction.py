"""Archives: one snapshot in the place of many whose instances have been gone for long.

Totals stay what they were. Sums of fractions are kept in two parts, the rounded sum and what the
rounding lost, so that no total falls by the last digit when one archive takes the place of many.
What workers of absorbed instances counted goes under the name of the archive, which never changes
afterwards: a series that grew by the life's work of others would look like a burst of requests.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence

from gunicorn_prometheus_exporter.redis.channel import Archive
from gunicorn_prometheus_exporter.redis.naming import rename_series
from gunicorn_prometheus_exporter.redis.snapshot import Schema, Snapshot, make_schema, pack_body
from gunicorn_prometheus_exporter.storage.blocks import Block, Layout
from gunicorn_prometheus_exporter.storage.layout import Series

TOTALS = ("counter", "histogram", "summary")
"""The kinds of metrics that outlive their instance; gauges do not."""

MAX_VICTIMS = 500
_SUM, _REST = "sum", "rest"


def totals(blocks: Iterable[Block]) -> list[Block]:
    """Return those of `blocks` that count for an instance that is gone."""
    return [block for block in blocks if block.kind in TOTALS]


def successor_id(instance: str) -> str:
    """Return the id under which an instance goes on that came back after it was absorbed."""
    return uuid.uuid5(uuid.UUID(instance), "successor").hex


def correction_id(successor: str) -> str:
    """Return the id of what takes off from a successor what the archive has of it."""
    return uuid.uuid5(uuid.UUID(successor), "correction").hex


def choose_victims(snapshots: Sequence[Snapshot], now: int, after: float) -> list[Snapshot]:
    """Return what to fold now, which is nothing until an instance is gone for `after` ms.

    Then all go that are gone for half as long, and the former archives, so that folding is rare.
    """
    instances = [one for one in snapshots if not one.is_archive]
    if not any(now - one.stamp > after for one in instances):
        return []
    gone = [one for one in instances if now - one.stamp > after / 2][:MAX_VICTIMS]
    corrections = {correction_id(one.id) for one in gone}
    archives = [one for one in snapshots if one.is_archive]
    return gone + [one for one in archives if not one.is_correction or one.id in corrections]


def make_archive(victims: Mapping[Snapshot, Sequence[Block]], now: int, remember: float) -> Archive:
    """Return an archive of all `victims`, given with their blocks.

    remember: how long, in ms, it is remembered what has been absorbed.
    """
    identity = uuid.uuid4().hex
    name = f"archive-{identity[:8]}"
    cells: dict[tuple[str, Series], list[float]] = {}
    absorbed: dict[str, float] = {}
    for victim, blocks in victims.items():
        absorbed |= {one: when for one, when in victim.absorbed.items() if now - when <= remember}
        absorbed[victim.id] = now
        _add(cells, totals(blocks), name if victim.name else "")
    blocks = _summed(cells)
    schema, body = _packed(blocks, "", absorbed)
    return Archive(identity, schema, body, list(victims))


def make_correction(successor: str, blocks: Iterable[Block], name: str) -> tuple[Schema, Snapshot]:
    """Return what takes `blocks` off from the totals of `successor`, an instance called `name`."""
    negative = [block._replace(values=[-one for one in block.values]) for block in totals(blocks)]
    schema, body = _packed(negative, name, {})
    return schema, Snapshot(correction_id(successor), 1, 0, body)


def _packed(
    blocks: Sequence[Block], name: str, absorbed: Mapping[str, float]
) -> tuple[Schema, bytes]:
    schema = make_schema([(block, range(len(block.values))) for block in blocks])
    cells = [value for block in blocks for value in block.values]
    return schema, pack_body(schema, [False] * len(blocks), cells, name, absorbed=absorbed)


def _add(cells: dict[tuple[str, Series], list[float]], blocks: Iterable[Block], name: str) -> None:
    for block in blocks:
        listed = rename_series(block.layout.series, name) if name else block.layout.series
        for series, value in zip(listed, block.values, strict=True):
            cells.setdefault((block.kind, series), []).append(value)


def _summed(cells: Mapping[tuple[str, Series], Sequence[float]]) -> list[Block]:
    by_kind: dict[str, list[tuple[Series, float, float]]] = {}
    for (kind, series), values in sorted(cells.items(), key=lambda item: item[0]):
        by_kind.setdefault(kind, []).append((series, *split_sum(values)))
    blocks = []
    for kind, rows in by_kind.items():
        rest = [row for row in rows if row[2]]
        blocks.append(_block(kind, _SUM, [row[0] for row in rows], [row[1] for row in rows]))
        if rest:
            blocks.append(_block(kind, _REST, [row[0] for row in rest], [row[2] for row in rest]))
    return blocks


def _block(kind: str, owner: str, series: Sequence[Series], values: Sequence[float]) -> Block:
    return Block(kind, owner, False, Layout(tuple(series)), list(values), ())


def split_sum(values: Sequence[float]) -> tuple[float, float]:
    """Return the rounded sum of `values` and what is missing in it, never less than all of it."""
    try:
        total = math.fsum(values)
        rest = math.fsum((*values, -total))
        if math.fsum((*values, -total, -rest)) > 0:
            rest = math.nextafter(rest, math.inf)
    except (ValueError, OverflowError):  # infinities
        return sum(values), 0.0
    return total, rest if math.isfinite(rest) else 0.0
