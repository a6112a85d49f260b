"""Renders blocks as Prometheus text 0.0.4 or OpenMetrics 1.0.0.

Everything but the numbers is rendered once. A scrape merges the numbers and renders the lines whose
number has changed since the last scrape.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence

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
        self._families = plan.families
        self._end = "# EOF\n" if openmetrics else ""
        self._lines: list[str] = []
        self._prefixes: list[str] = []
        self._places: list[int] = []
        """Where in `_lines` each sample stands, between the headers."""
        for family in plan.families:
            self._lines.append(
                header(family.name, family.type, family.help, openmetrics=openmetrics)
            )
            for line in family.lines:
                self._places.append(len(self._lines))
                self._lines.append("")
                self._prefixes.append(sample_prefix(line.sample, line.labels))
        self._values: Sequence[float] = [ABSENT] * len(self._places)

    def update(self, values: Sequence[float]) -> None:
        """Render the lines whose value is not what it was."""
        lines, prefixes, places = self._lines, self._prefixes, self._places
        changed = map(operator.ne, values, self._values)
        for index in itertools.compress(range(len(values)), changed):
            value = values[index]
            # Most numbers need no further thought; a call for each would cost a tenth of a scrape.
            text = repr(value) if -1e300 < value < 1e6 else go_float(value)
            lines[places[index]] = f"{prefixes[index]}{text}\n" if value is not ABSENT else ""
        self._values = values

    def text(self, names: frozenset[str]) -> str:
        """Return all lines, or those of the metrics and samples called `names`."""
        lines = itertools.compress(self._lines, self._chosen(names)) if names else self._lines
        return "".join(lines) + self._end

    def _chosen(self, names: frozenset[str]) -> Iterator[bool]:
        for family in self._families:
            whole = family.name in names
            flags = [whole or line.sample in names for line in family.lines]
            yield whole or any(flags)
            yield from flags
