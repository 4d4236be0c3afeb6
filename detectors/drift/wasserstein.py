"""Wasserstein-1: how far mass had to move, in the units of the column or in reference sds."""

from __future__ import annotations

import math

import numpy as np

from detectors.drift.sweep import Sweep, sweep
from detectors.records import FloatArray

PRACTICAL_SD = 0.1
"""A tenth of the reference's standard deviation, Cohen's "smaller than small"."""


def wasserstein_distance(a: FloatArray, b: FloatArray) -> float:
    """The area between the distribution functions of a (n,) and b (m,), in the units of a."""
    return sweep(np.sort(a), np.sort(b)).wasserstein


def wasserstein_interval(
    found: Sweep, rows_a: float, rows_b: float, *, z: float = 1.959963985
) -> tuple[float, float]:
    """Estimate ± z standard errors by the variance of the Kantorovich potential.

    Asymptotically exact where the two distributions differ (del Barrio, Gordaliza and Loubes
    2019). Where they agree the estimate is all noise and the interval starts at zero too high;
    `ks_p_value` guards against that, not this.
    """
    if rows_a < 1 or rows_b < 1:
        return 0.0, math.inf
    error = math.sqrt(found.variances[0] / rows_a + found.variances[1] / rows_b)
    return max(0.0, found.wasserstein - z * error), found.wasserstein + z * error
