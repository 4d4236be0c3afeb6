"""Has P(y | x) changed somewhere in particular, or everywhere alike?

Both windows are recalibrated first, so what is left of a change in the residuals is its shape
over the inputs. A column whose cells moved apart points at a region; a relabelling that treats
all rows alike moves none. Cells can part in two ways: by the mean of their residuals, or by how
residuals lean on the score. Where answers are turned round for half of the rows, both halves may
end at one rate, but scores now rank one of them backwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.findings.cells import cell_pair
from detectors.records import FloatArray, Schema, Task, Window

FEWEST_ROWS = 60
SMALLEST_TAIL = 1e-200


@dataclass(frozen=True, slots=True)
class Localisation:
    """The column whose cells disagree most, its standardised excess `z`, and its worst cell."""

    z: float
    column: str = ""
    cell: str = ""


def cell_excess(
    mean_ref: FloatArray,
    mean_cur: FloatArray,
    variance: FloatArray,
) -> tuple[float, float]:
    """Q = sum of squared differences over their variances (k,), and z = (Q - df) / sqrt(2 df).

    df = k - 1: recalibration has used one. Fewer than two cells give (0, 0).
    """
    df = len(mean_ref) - 1
    if df < 1:
        return 0.0, 0.0
    Q = float(((mean_cur - mean_ref) ** 2 / variance).sum())
    return Q, float((Q - df) / np.sqrt(2 * df))


def heterogeneity(
    mean_ref: FloatArray, mean_cur: FloatArray, variance: FloatArray
) -> tuple[float, float]:
    """Cochran's Q of the cells' differences (k,): what they have in common does not count.

    z is that of five degrees of freedom at the same tail, so that two cells need as rare a
    difference as six.
    """
    from scipy.stats import chi2

    apart = mean_cur - mean_ref
    common = float((apart / variance).sum() / (1 / variance).sum())
    Q, z = cell_excess(mean_ref + common, mean_cur, variance)
    tail = float(chi2.sf(Q, len(apart) - 1))
    return Q, z if tail < SMALLEST_TAIL else float((chi2.isf(tail, 5) - 5) / np.sqrt(10))


def localise(
    reference: Window,
    current: Window,
    schema: Schema,
    residual_ref: FloatArray,
    residual_cur: FloatArray,
    *,
    design_effect: float = 1.0,
) -> Localisation:
    """Largest excess over columns, for residuals (n,) and (m,) of recalibrated windows.

    Cells with fewer than 60 rows in either window are left out; ones that a cell lacks by chance do
    not make it look certain, as its variance is at least what recalibrated scores foresee. Scores
    of a binary task, where both windows have them, show how residuals lean. The .95 quantile of
    either way without a change is 4.4 over a dozen columns.
    """
    best = Localisation(0.0)
    score_ref, score_cur = reference.score, current.score
    for column in schema.columns:
        left, right, names = cell_pair(reference, current, column)
        chance = np.zeros(current.rows)
        if schema.task is Task.BINARY and current.label is not None:
            p = current.label - residual_cur
            chance = np.clip(p * (1 - p), 0.0, 0.25)
        ways = [(residual_ref, residual_cur, chance, cell_excess)]
        if schema.task is Task.BINARY and score_ref is not None and score_cur is not None:
            away_ref = _within(left, score_ref, len(names))
            away_cur = _within(right, score_cur, len(names))
            lean_ref, lean_cur = residual_ref * away_ref, residual_cur * away_cur
            ways.append((lean_ref, lean_cur, chance * away_cur**2, heterogeneity))
        for before, now, foreseen, excess in ways:
            n, mean_ref, var_ref = _moments(left, before, len(names))
            m, mean_cur, var_cur = _moments(right, now, len(names))
            var_cur = np.maximum(var_cur, _moments(right, foreseen, len(names))[1])
            kept = (n >= FEWEST_ROWS) & (m >= FEWEST_ROWS) & (var_ref + var_cur > 0)
            if kept.sum() < 2:
                continue
            a, b = mean_ref[kept], mean_cur[kept]
            variance = design_effect * (var_ref[kept] / n[kept] + var_cur[kept] / m[kept])
            _, z = excess(a, b, variance)
            if z > best.z:
                worst = np.flatnonzero(kept)[np.argmax((b - a) ** 2 / variance)]
                best = Localisation(z, column.name, names[worst])
    return best


def _within(
    cells: np.ndarray[tuple[int], np.dtype[np.int64]], values: FloatArray, k: int
) -> FloatArray:
    """Values (n,) less the mean of their cell."""
    _, mean, _ = _moments(cells, values, k)
    return values - mean[cells]


def _moments(
    cells: np.ndarray[tuple[int], np.dtype[np.int64]], values: FloatArray, k: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows, mean and variance of values (n,) in each of k cells."""
    rows = np.bincount(cells, minlength=k).astype(np.float64)
    safe = np.maximum(rows, 1)
    mean = np.bincount(cells, weights=values, minlength=k) / safe
    square = np.bincount(cells, weights=(values - mean[cells]) ** 2, minlength=k) / safe
    return rows, mean, square
