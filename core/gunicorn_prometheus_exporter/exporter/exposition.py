"""Renders blocks as Prometheus text 0.0.4 or OpenMetrics 1.0.0.

Everything but the numbers is rendered once. A scrape merges the numbers and renders the lines whose
number has changed since the last scrape.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence

from gunicorn_prometheus_exporter.exporter.columns import ABSENT
from gunicorn_prometheus_exporter.exporter.merge import Plan, plan_key, shown
from gunicorn_prometheus_exporter.exporter.text import go_float, header, sample_prefix
from gunicorn_prometheus_exporter.storage.blocks import Block


class Exposition:
    """Renders one endpoint's blocks; made for blocks that resemble those of the last time.

    It keeps what the last blocks needed and nothing else. Not safe for concurrent use.
    """

    def __init__(self) -> None:
        """Begin with nothing remembered."""
        self._plan = Plan(())
        self._pages: dict[bool, _Page] = {}

    def render(self, blocks: Sequence[Block], *, openmetrics: bool, names: frozenset[str]) -> bytes:
        """Return the exposition of `blocks`; of those called `names` alone, if there are any."""
        blocks = shown(blocks)
        if plan_key(blocks) != self._plan.key:
            self._plan, self._pages = Plan(blocks), {}
        page = self._pages.get(openmetrics)
        if page is None:
            page = self._pages[openmetrics] = _Page(self._plan, openmetrics=openmetrics)
        page.update(self._plan.values(blocks))
        return page.text(names).encode()


class _Page:
    """The lines of one exposition, kept up to date."""

    def __init__(self, plan: Plan, *, openmetrics: bool) -> None:
        self._families = [
            (header(family.name, family.type, family.help, openmetrics=openmetrics), family)
            for family in plan.families
        ]
        self._prefixes = [
            sample_prefix(line.sample, line.labels)
            for family in plan.families
            for line in family.lines
        ]
        self._lines = [""] * len(self._prefixes)
        self._values: Sequence[float] = [ABSENT] * len(self._prefixes)
        self._end = "# EOF\n" if openmetrics else ""

    def update(self, values: Sequence[float]) -> None:
        """Render the lines whose value is not what it was."""
        lines, prefixes = self._lines, self._prefixes
        changed = map(operator.ne, values, self._values)
        for index in itertools.compress(range(len(values)), changed):
            value = values[index]
            if -1e300 < value < 1e6:  # what `go_float` makes of most numbers, without a call
                lines[index] = f"{prefixes[index]}{value!r}\n"
            elif value is not ABSENT:
                lines[index] = f"{prefixes[index]}{go_float(value)}\n"
            else:
                lines[index] = ""
        self._values = values

    def text(self, names: frozenset[str]) -> str:
        """Return all lines, or those of the metrics and samples called `names`."""
        parts: list[str] = []
        start = 0
        for head, family in self._families:
            lines = self._lines[start : start + len(family.lines)]
            start += len(family.lines)
            if names and family.name not in names:
                chosen = [line.sample in names for line in family.lines]
                lines = list(itertools.compress(lines, chosen))
                if not lines:
                    continue
            parts.append(head)
            parts += lines
        return "".join(parts) + self._end
