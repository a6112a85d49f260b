"""Blocks: the samples of one arena at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gunicorn_prometheus_exporter.storage.layout import Series


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The series of an arena, in the order of its entries.

    A layout is equal only to itself, and a reader hands out the same one until the arena has grown:
    what was derived from a layout can be kept under it.
    """

    series: tuple[Series, ...]


class Block(NamedTuple):
    """The values of all series of one arena at one moment.

    kind: one of `contract.KINDS`, which decides how values of several blocks are merged.
    owner: the slot, the foreign process id or, with Redis, `<instance>:<slot>` that wrote them.
    live: whether that owner is alive; gauges of the `live` modes of others are not shown.
    values: one for each series of `layout`.
    timestamps: when each value was set, in Unix seconds, 0 for never; empty where no merge asks
        for them, which is in all kinds but `gauge_mostrecent` and `gauge_livemostrecent`.
    """

    kind: str
    owner: str
    live: bool
    layout: Layout
    values: Sequence[float]
    timestamps: Sequence[float]


def has_timestamps(kind: str) -> bool:
    """Return whether blocks of `kind` carry timestamps."""
    return kind.endswith("mostrecent")
