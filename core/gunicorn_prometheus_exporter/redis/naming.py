"""How the samples of an instance are told from those of others where all are shown together."""

from __future__ import annotations

from collections.abc import Iterable

from gunicorn_prometheus_exporter.storage.blocks import Block, Layout
from gunicorn_prometheus_exporter.storage.layout import Series

WORKER_ID = "worker_id"


def qualified(name: str, worker: str) -> str:
    """Return what a worker (or slot) of the instance `name` is called among those of all."""
    return f"{name}:{worker}"


def rename_series(series: Iterable[Series], name: str) -> tuple[Series, ...]:
    """Return `series` with the instance's name in each label `worker_id`."""
    return tuple(
        one._replace(
            labels=tuple(
                (label, qualified(name, value) if label == WORKER_ID else value)
                for label, value in one.labels
            )
        )
        if any(label == WORKER_ID for label, _ in one.labels)
        else one
        for one in series
    )


class Renaming:
    """Renames the blocks of instances, and gives equal ones the layout that they had before."""

    def __init__(self) -> None:
        """Begin with nothing remembered."""
        self._layouts: dict[tuple[Layout, str], Layout] = {}
        self._used: dict[tuple[Layout, str], Layout] = {}
        self._series: dict[Series, Series] = {}

    def rename(self, blocks: Iterable[Block], name: str) -> list[Block]:
        """Return `blocks` as those of the instance `name`; as they are, if that is empty."""
        if not name:
            return list(blocks)
        return [
            block._replace(
                owner=qualified(name, block.owner), layout=self._layout(block.layout, name)
            )
            for block in blocks
        ]

    def forget_unused(self) -> None:
        """Forget what was not asked for since the last call."""
        self._layouts, self._used = self._used, {}
        if len(self._series) > 2 * sum(len(one.series) for one in self._layouts.values()) + 1000:
            self._series.clear()

    def _layout(self, layout: Layout, name: str) -> Layout:
        key = (layout, name)
        found = self._used.get(key) or self._layouts.get(key)
        if found is None:
            series = rename_series(layout.series, name)
            found = Layout(tuple(self._series.setdefault(one, one) for one in series))
        self._used[key] = found
        return found
