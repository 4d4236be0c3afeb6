"""Counts in cells: chi-square and G, Cohen's w and total variation with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from detectors.drift.psi import smoothed_shares
from detectors.kernels import njit
from detectors.records import FloatArray, IntArray

PRACTICAL_TV = 0.05
PRACTICAL_W = 0.1

RULE_OF_THREE = 3.0
MIN_EXPECTED = 5.0
"""Cochran's (1954) rule for the chi-square approximation."""

Z_95 = 1.959963985


@dataclass(frozen=True, slots=True)
class CellTest:
    """Two windows of counts compared on cells pooled until each expects five rows.

    `total_variation` and `w` are free of sampling noise on average; their intervals are 95 %.
    """

    chi_square: float
    g: float
    df: int
    p_value: float
    total_variation: float
    total_variation_ci: tuple[float, float]
    w: float
    w_ci: tuple[float, float]


def total_variation(reference: FloatArray, current: FloatArray) -> float:
    """Half the sum of |q - p|: the share of rows that would have to move. Raw, noise included."""
    p, q = reference / np.sum(reference), current / np.sum(current)
    return float(np.abs(q - p).sum() / 2)


def cohen_w(reference: FloatArray, current: FloatArray) -> float:
    """Root of the sum of (q - p)^2 / p over cells, raw. Cohen (1988): .1 is small, .3 medium.

    A cell that is empty in the reference counts as half a row.
    """
    reference = np.asarray(reference, float)
    p = reference / reference.sum() if (reference > 0).all() else smoothed_shares(reference)
    q = current / np.sum(current)
    return float(np.sqrt(np.sum((q - p) ** 2 / p)))


def compare_counts(reference: FloatArray, current: FloatArray, *, seed: int = 0) -> CellTest:
    """Test counts (cells,) of two windows for equal shares; counts may be effective counts.

    Cells are pooled from the rarest until each expects five rows. If fewer than two are left,
    the p-value comes from 10,000 tables with the same margins. Noise is taken out of `w` by its
    expectation under equality and out of total variation by positive-part James-Stein shrinkage
    of the differences; the interval of `w` follows the noncentral chi-square, and total variation
    is never above w / 2 (Cauchy-Schwarz). Where all cells were pooled into one, total variation
    is the raw one if the tables reject equality, and its bound adds what the larger share of rows
    may hide: 3 / n (rule of three; Hanley & Lippman-Hand 1983).
    """
    rows_a, rows_b = float(np.sum(reference)), float(np.sum(current))
    if rows_a <= 0 or rows_b <= 0:
        return CellTest(0.0, 0.0, 0, 1.0, 0.0, (0.0, 1.0), 0.0, (0.0, math.inf))
    a, b = pool_cells(np.asarray(reference, float), np.asarray(current, float))
    both = a + b
    df = len(both) - 1
    chi_square = g = 0.0
    for counts, rows in ((a, rows_a), (b, rows_b)):
        expected = both * (rows / (rows_a + rows_b))
        chi_square += float(np.sum((counts - expected) ** 2 / expected))
        held = counts > 0
        g += 2 * float(np.sum(counts[held] * np.log(counts[held] / expected[held])))
    spread = 1 / rows_a + 1 / rows_b
    excess = max(chi_square - df, 0.0)
    half_w2 = Z_95 * math.sqrt(2 * df + 4 * excess)
    w_ci = (
        math.sqrt(spread * max(chi_square - df - half_w2, 0.0)),
        math.sqrt(spread * max(chi_square - df + half_w2, 0.0)),
    )
    if df:
        p_value = float(chdtrc(df, chi_square))
    else:
        p_value = permuted_p_value(reference, current, seed=seed)
        w_ci = (0.0, math.inf)
    p, q = a / rows_a, b / rows_b
    raw = float(np.abs(q - p).sum() / 2)
    sign = np.sign(q - p)
    error = 0.5 * math.sqrt(
        max(0.0, float(p.sum() - (sign * p).sum() ** 2)) / rows_a
        + max(0.0, float(q.sum() - (sign * q).sum() ** 2)) / rows_b
    )
    shrunk = raw * (excess / chi_square) if chi_square > 0 else 0.0
    tv_ci = (max(0.0, shrunk - Z_95 * error), min(1.0, raw + Z_95 * error, w_ci[1] / 2))
    if not df:
        whole = total_variation(reference, current)
        shrunk = whole if p_value <= 0.05 else 0.0
        tv_ci = (0.0, min(1.0, whole + RULE_OF_THREE / min(rows_a, rows_b)))
    return CellTest(
        chi_square=chi_square,
        g=g,
        df=df,
        p_value=p_value,
        total_variation=shrunk,
        total_variation_ci=tv_ci,
        w=math.sqrt(spread * excess),
        w_ci=w_ci,
    )


def pool_cells(reference: FloatArray, current: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Join cells from the rarest on until each expects five rows in the smaller window.

    Cells as rare as each other are joined in an order drawn by lot: in that of a vocabulary, the
    values that only one window holds would be joined with each other and tell it from the other.
    """
    both = reference + current
    kept = np.flatnonzero(both > 0)
    kept = np.random.default_rng(len(kept)).permutation(kept)
    reference, current, both = reference[kept], current[kept], both[kept]
    smaller = min(reference.sum(), current.sum()) / both.sum()
    order = np.argsort(both, kind="stable")
    group = _greedy_groups(both[order] * smaller, MIN_EXPECTED)
    cells = int(group[-1]) + 1
    return (
        np.bincount(group, weights=reference[order], minlength=cells).astype(float),
        np.bincount(group, weights=current[order], minlength=cells).astype(float),
    )


def permuted_p_value(
    reference: FloatArray, current: FloatArray, *, draws: int = 10_000, seed: int = 0
) -> float:
    """P-value of the chi-square statistic over random tables with the same margins."""
    a, b = np.rint(reference).astype(np.int64), np.rint(current).astype(np.int64)
    both = a + b
    a, b, both = a[both > 0], b[both > 0], both[both > 0]
    rows_a, rows_b = int(a.sum()), int(b.sum())
    if len(both) < 2 or not rows_a or not rows_b:
        return 1.0
    if len(both) > draws:
        return 1.0
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(
        both, min(rows_a, rows_b), size=draws, method="marginals"
    )
    observed = a if rows_a <= rows_b else b
    expected = both * (min(rows_a, rows_b) / (rows_a + rows_b))
    seen = float(np.sum((observed - expected) ** 2 / expected))
    reached = np.sum((drawn - expected) ** 2 / expected, axis=1) >= seen - 1e-9
    return float((1 + np.sum(reached)) / (1 + draws))


@njit(cache=True, nogil=True)
def _greedy_groups(expected: FloatArray, least: float) -> IntArray:
    group = np.empty(len(expected), np.int64)
    current, held = 0, 0.0
    for cell in range(len(expected)):
        group[cell] = current
        held += expected[cell]
        if held >= least:
            current += 1
            held = 0.0
    if held > 0.0 and current > 0:
        for cell in range(len(expected) - 1, -1, -1):
            if group[cell] != current:
                break
            group[cell] = current - 1
    return group
