"""Has P(y | x) changed somewhere in particular, or everywhere alike?

Both windows are recalibrated first, so what is left of a change in the residuals is its shape
over the inputs. A column whose cells moved apart points at a region; a relabelling that treats
all rows alike moves none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.findings.cells import cell_pair
from detectors.records import FloatArray, Schema, Window

FEWEST_ROWS = 60


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

    Cells with fewer than 60 rows in either window are left out. The .95 quantile without a
    change is 4.4 over a dozen columns.
    """
    best = Localisation(0.0)
    for column in schema.columns:
        left, right, names = cell_pair(reference, current, column)
        n, mean_ref, var_ref = _moments(left, residual_ref, len(names))
        m, mean_cur, var_cur = _moments(right, residual_cur, len(names))
        kept = (n >= FEWEST_ROWS) & (m >= FEWEST_ROWS) & (var_ref + var_cur > 0)
        if kept.sum() < 2:
            continue
        a, b = mean_ref[kept], mean_cur[kept]
        variance = design_effect * (var_ref[kept] / n[kept] + var_cur[kept] / m[kept])
        _, z = cell_excess(a, b, variance)
        if z > best.z:
            worst = np.flatnonzero(kept)[np.argmax((b - a) ** 2 / variance)]
            best = Localisation(z, column.name, names[worst])
    return best


def _moments(
    cells: np.ndarray[tuple[int], np.dtype[np.int64]], values: FloatArray, k: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows, mean and variance of values (n,) in each of k cells."""
    rows = np.bincount(cells, minlength=k).astype(np.float64)
    safe = np.maximum(rows, 1)
    mean = np.bincount(cells, weights=values, minlength=k) / safe
    square = np.bincount(cells, weights=(values - mean[cells]) ** 2, minlength=k) / safe
    return rows, mean, square
