"""Arithmetic on many samples at once: whole columns of cells instead of cell by cell.

Column `k` of a set of samples holds the `k`-th cell of each of them. Sorted by their number of
cells, the samples that have a `k`-th cell come first: no column is longer than the one before, no
cell is visited in vain, and every loop over cells runs inside the interpreter's C code.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Column = Callable[[Sequence[Any]], Sequence[Any]]
"""Picks certain items of a sequence."""

Combine = Callable[[Any, Any], Any]


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


def _columns(rows: Sequence[Sequence[int]]) -> list[Column]:
    """Return the columns of `rows`, which are sorted from the longest to the shortest."""
    height = len(rows[0]) if rows else 0
    return [column([row[k] for row in rows if len(row) > k]) for k in range(height)]


class _Fold:
    """Combines all cells of each row, from left to right."""

    def __init__(self, combine: Combine, rows: Sequence[Sequence[int]]) -> None:
        self._combine = combine
        self._columns = _columns(rows)

    def __call__(self, cells: Sequence[float], results: list[Any]) -> None:
        if not self._columns:
            return
        total = list(self._columns[0](cells))
        for pick in self._columns[1:]:
            part = pick(cells)
            total[: len(part)] = map(self._combine, total, part)
        results += total


class _RunningSums:
    """Replaces the results of each row by their running sums."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self._columns = _columns(rows)

    def __call__(self, cells: Sequence[float], results: list[Any]) -> None:
        if not self._columns:
            return
        total = self._columns[0](results)
        results += total
        for pick in self._columns[1:]:
            total = list(map(operator.add, total, pick(results)))
            results += total


class _Newest:
    """Takes of each row the cell that was set last: its timestamp stands in the next cell.

    Where none was ever set, the result is None. Of several set at the same time the first is taken.
    """

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self._rows = rows

    def __call__(self, cells: Sequence[float], results: list[Any]) -> None:
        results.extend(self._newest(cells, row) for row in self._rows)

    @staticmethod
    def _newest(cells: Sequence[float], row: Sequence[int]) -> float | None:
        newest, value = 0.0, None
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
        """Take the newest cell of each of `values`, or None; the cell after each is its time."""
        self._steps.append(_Newest([value.cells for value in values]))
        self._place(values)

    def running_sums(self, rows: Sequence[Sequence[Merged]]) -> None:
        """Replace the values of each row, which were computed before, by their running sums."""
        ordered = sorted(rows, key=lambda row: -len(row))
        self._steps.append(_RunningSums([[value.position for value in row] for row in ordered]))
        for k in range(len(ordered[0]) if ordered else 0):
            self._place([row[k] for row in ordered if len(row) > k])

    def run(self, cells: Sequence[float]) -> list[Any]:
        """Return all results for `cells`: floats, and None where there is none."""
        results: list[Any] = []
        for step in self._steps:
            step(cells, results)
        return results

    def _place(self, values: Sequence[Merged]) -> None:
        for value in values:
            value.position = self._size
            self._size += 1
