"""Two shares: did the share of nulls, or of any other kind of row, change?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, ndtr

from detectors.records import FloatArray, IntArray

PRACTICAL_LOG_ODDS = math.log(1.1)
PRACTICAL_DIFFERENCE = 0.005
"""Both must be exceeded: a tenth in odds and half a row in a hundred."""

EXACT_BELOW = 10
"""With a cell smaller than this the score test is poor; the exact one takes over."""

Z_95 = 1.959963985


@dataclass(frozen=True, slots=True)
class ShareChange:
    """How a share moved between windows. Intervals are 95 %."""

    log_odds: float
    log_odds_ci: tuple[float, float]
    difference: float
    difference_ci: tuple[float, float]
    p_value: float


def compare_shares(hits_a: float, rows_a: float, hits_b: float, rows_b: float) -> ShareChange:
    """Compare hits_a of rows_a with hits_b of rows_b; counts may be effective counts.

    Log odds ratio with half a row in each cell (Haldane 1956); the difference has Newcombe's
    (1998) interval; the p-value is the pooled score test, or Fisher's mid-p (Lancaster 1961)
    while any cell holds fewer than ten.
    """
    log_odds = math.log(
        (hits_b + 0.5) * (rows_a - hits_a + 0.5) / ((rows_b - hits_b + 0.5) * (hits_a + 0.5))
    )
    cells = (hits_a, rows_a - hits_a, hits_b, rows_b - hits_b)
    error = math.sqrt(sum(1.0 / (cell + 0.5) for cell in cells))
    share_a, share_b = hits_a / rows_a, hits_b / rows_b
    low_a, high_a = wilson(hits_a, rows_a)
    low_b, high_b = wilson(hits_b, rows_b)
    difference = share_b - share_a
    return ShareChange(
        log_odds=log_odds,
        log_odds_ci=(log_odds - Z_95 * error, log_odds + Z_95 * error),
        difference=difference,
        difference_ci=(
            difference - math.hypot(share_b - low_b, high_a - share_a),
            difference + math.hypot(high_b - share_b, share_a - low_a),
        ),
        p_value=(
            fisher_mid_p(round(hits_a), round(rows_a), round(hits_b), round(rows_b))
            if min(cells) < EXACT_BELOW
            else score_p_value(hits_a, rows_a, hits_b, rows_b)
        ),
    )


def wilson(hits: float, rows: float, z: float = Z_95) -> tuple[float, float]:
    """Wilson's (1927) interval for one share; (0, 1) without rows."""
    if rows <= 0:
        return 0.0, 1.0
    share = hits / rows
    middle = share + z * z / (2 * rows)
    half = z * math.sqrt(max(share * (1 - share), 0.0) / rows + (z / (2 * rows)) ** 2)
    width = 1 + z * z / rows
    return max(0.0, (middle - half) / width), min(1.0, (middle + half) / width)


def score_p_value(hits_a: float, rows_a: float, hits_b: float, rows_b: float) -> float:
    """Two-sided pooled z test of equal shares (the square root of Pearson's chi-square)."""
    pooled = (hits_a + hits_b) / (rows_a + rows_b)
    variance = pooled * (1 - pooled) * (1 / rows_a + 1 / rows_b)
    if variance <= 0:
        return 1.0
    return float(2 * ndtr(-abs(hits_b / rows_b - hits_a / rows_a) / math.sqrt(variance)))


def fisher_mid_p(hits_a: int, rows_a: int, hits_b: int, rows_b: int) -> float:
    """Two-sided mid-p of Fisher's exact test: tables less likely, plus half of those as likely."""
    hits, rows = hits_a + hits_b, rows_a + rows_b
    low, high = max(0, hits - rows_a), min(hits, rows_b)
    if low == high:
        return 1.0
    possible = np.arange(low, high + 1)
    weight = (
        _log_choose(rows_b, possible)
        + _log_choose(rows_a, hits - possible)
        - _log_choose(rows, np.asarray(hits))
    )
    seen = weight[hits_b - low]
    tie = np.abs(weight - seen) <= 1e-9 * max(1.0, abs(float(seen)))
    chance = np.exp(weight)
    less = (weight < seen) & ~tie
    return float(min(1.0, chance[less].sum() + chance[tie].sum() / 2))


def _log_choose(n: int, k: IntArray) -> FloatArray:
    chosen: FloatArray = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return chosen
