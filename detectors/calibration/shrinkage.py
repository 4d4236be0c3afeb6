"""Estimates of many small groups pulled towards their common mean: for ranking and display.

Never for a verdict: a group that really differs from the others is pulled away from the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Shrunk:
    """Common mean, variance between groups, and per group (k,) shrunken estimate and sd."""

    mean: float
    between: float
    estimate: FloatArray
    sd: FloatArray


def paule_mandel(estimate: FloatArray, se: FloatArray) -> Shrunk:
    """Empirical-Bayes estimates (k,) from estimates and standard errors (k,), all se > 0.

    The variance between groups τ² solves Σ (θ_j - θ̄)² / (τ² + se²) = k - 1, after Paule and
    Mandel (1982). With one group nothing is shrunk.
    """
    k = len(estimate)
    if k < 2:
        mean = float(estimate[0]) if k else 0.0
        return Shrunk(mean, 0.0, estimate.copy(), se.copy())

    def centre(between: float) -> float:
        w = 1.0 / (between + se**2)
        return float(w @ estimate / w.sum())

    def excess(between: float) -> float:
        w = 1.0 / (between + se**2)
        return float(w @ (estimate - centre(between)) ** 2) - (k - 1)

    between = 0.0
    if excess(0.0) > 0.0:
        from scipy.optimize import brentq

        high = float(np.ptp(estimate)) ** 2
        between = float(brentq(excess, 0.0, max(high, 1e-12) * k, xtol=1e-12))
    mean = centre(between)
    share = between / (between + se**2)
    return Shrunk(mean, between, mean + share * (estimate - mean), np.sqrt(share) * se)
