"""Kolmogorov-Smirnov: the largest gap between two distribution functions."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import kolmogorov

from detectors.drift.sweep import sweep
from detectors.kernels import njit
from detectors.records import FloatArray

PRACTICAL = 0.05
"""A gap below five rows in a hundred is not worth anybody's time."""

EXACT_PRODUCT = 10_000
"""Up to this n_a * n_b the exact null distribution is affordable; beyond, its limit is accurate."""

BAND_95 = 1.358098637
"""The .95 quantile of the Kolmogorov distribution."""


def ks_distance(a: FloatArray, b: FloatArray) -> float:
    """sup|F - G| of two samples (n,), (m,) in any order, without NaN and not empty."""
    return sweep(np.sort(a), np.sort(b)).ks


def ks_p_value(distance: float, rows_a: float, rows_b: float) -> float:
    """P(D >= distance) when both samples come from one continuous distribution.

    Rows may be effective rows. Exact (Hodges 1958) while rows_a * rows_b <= 10,000, else the
    limiting distribution (Smirnov 1939). With ties both are conservative.
    """
    if rows_a < 1 or rows_b < 1:
        return 1.0
    if (
        rows_a * rows_b <= EXACT_PRODUCT
        and float(rows_a).is_integer()
        and float(rows_b).is_integer()
    ):
        return float(_exact(distance, int(rows_a), int(rows_b)))
    return float(kolmogorov(distance * math.sqrt(rows_a * rows_b / (rows_a + rows_b))))


def ks_interval(distance: float, rows_a: float, rows_b: float) -> tuple[float, float]:
    """An interval of at least 95 % for the true distance: the two-sample Kolmogorov band.

    The band covers F - G everywhere at once, so it covers its largest value too, whether or not
    the two distributions agree (Wei and Dudley 2012 bound its coverage in finite samples).
    """
    if rows_a < 1 or rows_b < 1:
        return 0.0, 1.0
    half = BAND_95 * math.sqrt(1.0 / rows_a + 1.0 / rows_b)
    return max(0.0, distance - half), min(1.0, distance + half)


@njit(cache=True, nogil=True)
def _exact(distance: float, rows_a: int, rows_b: int) -> float:
    """Share of lattice paths from (0, 0) to (n, m) that touch |x/n - y/m| >= D.

    The chance to stand at (x, y) without having touched it follows from the two points before,
    each left in the direction taken with probability (rows to come that way) / (rows to come).
    """
    limit = distance - 1e-12
    inside = np.zeros(rows_b + 1)
    for x in range(rows_a + 1):
        for y in range(rows_b + 1):
            if x == 0 and y == 0:
                inside[0] = 1.0
                continue
            to_come = rows_a - x + rows_b - y + 1
            chance = inside[y] * (rows_a - x + 1) / to_come if x else 0.0
            if y:
                chance += inside[y - 1] * (rows_b - y + 1) / to_come
            inside[y] = chance if abs(x / rows_a - y / rows_b) < limit else 0.0
    left: float = min(1.0, max(0.0, 1.0 - inside[rows_b]))
    return left
