"""A column in two windows, reduced to what schema checks read: its values and how often they come.

Checks look at evenly spaced rows: they ask what kind of column this is, not how much of it moved,
and their thresholds were set on windows of this size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from detectors.records import ColumnSpec, FloatArray, IntArray, Kind, Window

REFERENCE_ROWS = 10_000
CURRENT_ROWS = 5_000

CERTAIN = 1e-6
"""What a deterministic check may be wrong by, were rows independent."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Distinct values (k,) of a column in one window, numbers ascending, and their rows (k,)."""

    values: NDArray[np.float64] | NDArray[np.object_]
    counts: IntArray
    nulls: int

    @property
    def filled(self) -> int:
        return int(self.counts.sum())

    @property
    def rows(self) -> int:
        return self.filled + self.nulls

    @property
    def null_share(self) -> float:
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def top_share(self) -> float:
        """Share of the commonest value among the rows that have one."""
        return float(self.counts.max() / self.filled) if len(self.counts) else 0.0

    @property
    def top(self) -> str:
        return show(self.values[int(np.argmax(self.counts))])


@dataclass(frozen=True, eq=False)
class Pair:
    """One column of the schema, there and of its kind in both windows."""

    name: str
    kind: Kind
    reference: Tally
    current: Tally

    @cached_property
    def numbers(self) -> tuple[FloatArray, FloatArray]:
        """The finite values of a numeric column, sorted, in either window."""
        before, after = (
            np.repeat(tally.values.astype(float), tally.counts)
            for tally in (self.reference, self.current)
        )
        return before[np.isfinite(before)], after[np.isfinite(after)]

    @cached_property
    def shares(self) -> tuple[dict[str, float], dict[str, float]]:
        """The share of each category among rows that have one, in either window."""
        before, after = (
            dict(
                zip(
                    tally.values.tolist(),
                    (tally.counts / max(tally.filled, 1)).tolist(),
                    strict=True,
                )
            )
            for tally in (self.reference, self.current)
        )
        return before, after


def thinned(window: Window, rows: int) -> Window:
    """At most `rows` rows of a window, evenly spaced."""
    if window.rows <= rows:
        return window
    return window.take(np.linspace(0, window.rows - 1, rows).round().astype(np.int64))


def pair_of(reference: Window, current: Window, column: ColumnSpec) -> Pair | None:
    """The column in both windows; None if it is missing or of the other kind in one of them."""
    before, after = tally_of(reference, column), tally_of(current, column)
    if before is None or after is None:
        return None
    return Pair(column.name, column.kind, before, after)


def tally_of(window: Window, column: ColumnSpec) -> Tally | None:
    if column.kind is Kind.NUMERIC:
        numbers = window.numeric.get(column.name)
        if numbers is None:
            return None
        filled = numbers[~np.isnan(numbers)]
        values, counts = np.unique(filled, return_counts=True)
        return Tally(values, counts.astype(np.int64), len(numbers) - len(filled))
    categories = window.categorical.get(column.name)
    if categories is None:
        return None
    by_code = np.bincount(categories.codes + 1, minlength=1)
    present = np.flatnonzero(by_code[1:])
    words = np.array([categories.values[code] for code in present], dtype=object)
    return Tally(words, by_code[1:][present].astype(np.int64), int(by_code[0]))


def show(value: object) -> str:
    """A value for people: numbers short, words quoted and cut."""
    return f"{value:.6g}" if isinstance(value, float) else f"`{str(value)[:60]}`"
