"""Arithmetic on many samples at once, in loops that run inside the interpreter's C code."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Column = Callable[[Sequence[Any]], Sequence[Any]]
"""Picks certain items of a sequence."""

Combine = Callable[[Sequence[float]], float]

ABSENT = math.nan + 0
"""The result for a gauge that was never set: this very object, which no other NaN is."""


def exact_sum(values: Sequence[float]) -> float:
    """Return the sum of `values`, rounded once.

    It does not depend on their order and never falls while none of them does. Added one by one in
    another order, fractions can give a slightly smaller sum, which Prometheus takes for a restart.
    """
    try:
        return math.fsum(values)
    except (ValueError, OverflowError):  # infinities of both signs, or too large a sum
        return functools.reduce(operator.add, values)


@dataclass(slots=True, eq=False)
class Merged:
    """One value in the making: the cells it is merged from, and its place among the results."""

    cells: list[int] = field(default_factory=list)
    position: int = -1


def column(indices: Sequence[int]) -> Column:
    """Return what picks the items at `indices`; a run of neighbours is picked as one slice."""
    first = indices[0] if indices else 0
    if list(indices) == list(range(first, first + len(indices))):
        return operator.itemgetter(slice(first, first + len(indices)))
    return operator.itemgetter(*indices)


class _Fold:
    """Combines all cells of each row. Rows of the same length are done together, in their order."""

    def __init__(self, combine: Combine, rows: Sequence[Sequence[int]]) -> None:
        self._combine = combine
        self._groups = [
            (length, column(list(itertools.chain.from_iterable(group))))
            for length, group in itertools.groupby(rows, key=len)
        ]

    def __call__(self, cells: Sequence[float], results: list[float]) -> None:
        for length, pick in self._groups:
            picked = pick(cells)
            if length == 1:
                results += picked
            else:
                results.extend(map(self._combine, zip(*[iter(picked)] * length, strict=True)))


class _RunningSums:
    """Replaces the results of each row by their running sums.

    Column `k` holds the `k`-th value of each row. Rows come sorted from the longest to the
    shortest, so that no column is longer than the one before.
    """

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        height = len(rows[0]) if rows else 0
        self._columns = [column([row[k] for row in rows if len(row) > k]) for k in range(height)]

    def __call__(self, cells: Sequence[float], results: list[float]) -> None:
        total: Sequence[float] | None = None
        for pick in self._columns:
            part = pick(results)
            total = part if total is None else list(map(operator.add, total, part))
            results += total


class _Newest:
    """Takes of each row the cell that was set last: its timestamp stands in the next cell.

    Where none was ever set, the result is `ABSENT`. Of several set at once the first is taken.
    """

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self._rows = rows

    def __call__(self, cells: Sequence[float], results: list[float]) -> None:
        results.extend(self._newest(cells, row) for row in self._rows)

    @staticmethod
    def _newest(cells: Sequence[float], row: Sequence[int]) -> float:
        newest, value = 0.0, ABSENT
        for cell in row:
            if newest < cells[cell + 1]:
                newest, value = cells[cell + 1], cells[cell]
        return value


class Program:
    """Steps that turn cells into results. Adding a step tells each value its place among those."""

    def __init__(self) -> None:
        """Begin without steps."""
        self._steps: list[_Fold | _RunningSums | _Newest] = []
        self._size = 0

    def fold(self, combine: Combine, values: Sequence[Merged]) -> None:
        """Combine the cells of each of `values`."""
        ordered = sorted(values, key=lambda value: -len(value.cells))
        self._steps.append(_Fold(combine, [value.cells for value in ordered]))
        self._place(ordered)

    def newest(self, values: Sequence[Merged]) -> None:
        """Take the cell of each of `values` that was set last; after each cell stands its time."""
        self._steps.append(_Newest([value.cells for value in values]))
        self._place(values)

    def running_sums(self, rows: Sequence[Sequence[Merged]]) -> None:
        """Replace the values of each row, which were computed before, by their running sums."""
        ordered = sorted(rows, key=lambda row: -len(row))
        self._steps.append(_RunningSums([[value.position for value in row] for row in ordered]))
        for k in range(len(ordered[0]) if ordered else 0):
            self._place([row[k] for row in ordered if len(row) > k])

    def run(self, cells: Sequence[float]) -> list[float]:
        """Return all results for `cells`."""
        results: list[float] = []
        for step in self._steps:
            step(cells, results)
        return results

    def _place(self, values: Sequence[Merged]) -> None:
        for value in values:
            value.position = self._size
            self._size += 1
