"""Is there one region whose labels no longer follow the score as those of all other rows do?

Cells of about sixty rows are needed before a sum over all cells of a column says anything; a window
of 500 rows has few such. One cell against all others, or one side of a cut against the other, is
asked much less, and can be asked of ten rows. Of all regions the one with the largest deviance
counts, at a tail that is multiplied by the number of regions looked at (Bonferroni). This is a
spatial scan (Kulldorff, 1997) over columns instead of a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from detectors.calibration.rows import log_odds
from detectors.findings.cells import QUANTILES, cell_pair, numeric_pair
from detectors.records import (
    BoolArray,
    ColumnSpec,
    FloatArray,
    IntArray,
    Kind,
    Schema,
    Task,
    Window,
)

FEWEST_ROWS, FEWEST_LEANING = 8, 60
"""Inside the region and outside it, now and in the reference; a slope needs more than a mean."""

TIED = 0.01
"""A value that so many rows share may belong to either side of a cut."""

SMALLEST_TAIL, LEAST_RATE = 1e-300, 1e-4


@dataclass(frozen=True, slots=True)
class Region:
    """The region that parts most, and the z whose two-sided normal tail is that of the scan.

    0 where no region stands out more than the number of regions lets expect. `effect` does not grow
    with rows: the deviance a row of the smaller side, rooted (labels that moved by half a log odds
    have some .2, as a mean that moved by .2 sd).
    """

    z: float = 0.0
    effect: float = 0.0
    column: str = ""
    cell: str = ""


def find_region(
    reference: Window,
    current: Window,
    schema: Schema,
    residual_ref: FloatArray,
    residual_cur: FloatArray,
    *,
    design_effect: float = 1.0,
) -> Region:
    """Scan every column for residuals (n,), (m,): labels less what recalibrated scores say.

    A category is asked value by value, a number at every cut between fifths of the reference, nulls
    as a value of their own. Labels of 0 and 1 are counted (binomial deviance), others averaged.
    Where a binary task has scores, it is also asked how residuals lean on them: answers turned
    round leave the mean of a region alone where half of its labels are ones.
    """
    from scipy.stats import norm

    lean = None
    if schema.task is Task.BINARY and reference.score is not None and current.score is not None:
        before, now = log_odds(reference.score), log_odds(current.score)
        middle = before.mean()
        lean = residual_ref * (before - middle), residual_cur * (now - middle)
    asked, best, effect, where = 0, 0.0, 0.0, ("", "")
    for column in schema.columns:
        cells, called = _asked(reference, current, column)
        if schema.task is Task.BINARY and current.label is not None:
            ways = [cells.counted(residual_ref, current.label - residual_cur, current.label)]
        else:
            ways = [cells.apart(residual_ref, residual_cur, FEWEST_ROWS)]
        if lean is not None:
            ways.append(cells.apart(*lean, FEWEST_LEANING))
        for z in ways:
            asked += int(np.isfinite(z).sum())
            if z.size and np.nanmax(z, initial=0.0) > best:
                best = float(np.nanmax(z))
                at = int(np.nanargmax(z))
                effect, where = best / np.sqrt(cells.fewer[at]), (column.name, called[at])
    tail = 2 * asked * float(norm.sf(best / np.sqrt(design_effect)))
    if not asked or tail >= 1:
        return Region()
    return Region(float(norm.isf(max(tail, SMALLEST_TAIL) / 2)), float(effect), *where)


def _asked(
    reference: Window, current: Window, column: ColumnSpec
) -> tuple[_Cells, tuple[str, ...]]:
    """The cells of a column, the regions made of them, and what each is called."""
    if column.kind is Kind.CATEGORICAL:
        left, right, names = cell_pair(reference, current, column)
        return _Cells(left, right, len(names)), names
    before, now = numeric_pair(reference, current, column.name)
    known = before[~np.isnan(before)]
    fifths = np.unique(np.quantile(known, QUANTILES)) if known.size else np.empty(0)
    shared = [at for at in fifths if np.mean(known == at) >= TIED]
    edges = np.unique(np.concatenate([fifths, np.nextafter(shared, np.inf)]))
    names = tuple(f"{'>=' if edge in fifths else '>'} {edge:.6g}" for edge in edges)
    at = np.arange(len(edges) + 2)  # the last cell holds nulls
    above = [(at > cut) & (at <= len(edges)) for cut in range(len(edges))]
    regions = np.array([*above, at == len(edges) + 1], dtype=np.float64)
    cells = _Cells(_cells(before, edges), _cells(now, edges), len(at), regions)
    return cells, (*names, "null")


def _cells(values: FloatArray, edges: FloatArray) -> IntArray:
    inside = np.digitize(np.where(np.isnan(values), 0.0, values), edges)
    return np.where(np.isnan(values), len(edges) + 1, inside).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Which of k cells the rows of both windows (n,), (m,) lie in, and which cells regions hold.

    `regions` (r, k) is 1 where a region holds a cell; None: each cell is one, however many.
    """

    left: IntArray
    right: IntArray
    k: int
    regions: FloatArray | None = None

    def sums(self, cells: IntArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Of values in every region, and in all cells outside it: (r,), (r,)."""
        each = np.bincount(cells, weights=values, minlength=self.k).astype(np.float64)
        inside = each if self.regions is None else self.regions @ each
        outside: FloatArray = each.sum() - inside
        return inside, outside

    @property
    def fewer(self) -> FloatArray:
        """Current rows inside a region or outside it, whichever are fewer (r,)."""
        return np.minimum(*self.sums(self.right, np.ones(len(self.right))))

    def enough(self, fewest: int) -> tuple[tuple[FloatArray, ...], BoolArray]:
        """Rows inside and outside, of the reference and now, and where they are enough."""
        rows = (
            *self.sums(self.left, np.ones(len(self.left))),
            *self.sums(self.right, np.ones(len(self.right))),
        )
        return rows, np.min(rows, axis=0) >= fewest

    def counted(
        self, residual_ref: FloatArray, expected: FloatArray, label: FloatArray
    ) -> FloatArray:
        """How far ones in a region are from what scores let expect, as z (r,); NaN: few rows."""
        (n_in, n_out, m_in, m_out), enough = self.enough(FEWEST_ROWS)
        deviance = np.zeros(len(enough))
        residuals = self.sums(self.left, residual_ref)
        for n, m, was, ones, awaited in zip(
            (n_in, n_out),
            (m_in, m_out),
            residuals,
            self.sums(self.right, label),
            self.sums(self.right, expected),
            strict=True,
        ):
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.clip((awaited + m * was / n) / m, LEAST_RATE, 1 - LEAST_RATE)
                found = 2 * (
                    xlogy(ones, ones / m / share) + xlogy(m - ones, (1 - ones / m) / (1 - share))
                )
                deviance += found * n / (n + m)
        return np.where(enough, np.sqrt(np.maximum(deviance, 0.0)), np.nan)

    def apart(self, before: FloatArray, now: FloatArray, fewest: int) -> FloatArray:
        """How much further the mean moved inside than outside, as z (r,); NaN: few rows."""
        (n_in, n_out, m_in, m_out), enough = self.enough(fewest)
        moved, variance = [], np.zeros(len(enough))
        for at, (n, m) in enumerate(((n_in, m_in), (n_out, m_out))):
            change = np.zeros(len(enough))
            for cells, values, rows, sign in ((self.left, before, n, -1), (self.right, now, m, 1)):
                with np.errstate(invalid="ignore", divide="ignore"):
                    mean = self.sums(cells, values)[at] / rows
                    change += sign * mean
                    variance += (self.sums(cells, values**2)[at] / rows - mean**2) / rows
            moved.append(change)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.abs(moved[0] - moved[1]) / np.sqrt(variance)
        return np.where(enough & np.isfinite(z), z, np.nan)
