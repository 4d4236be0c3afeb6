"""Calibration in the large: do as many happen as the scores add up to?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.calibration.logistic import fit_logistic
from detectors.calibration.rows import log_odds, sigmoid, squared_sums
from detectors.records import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class InTheLarge:
    """Observed over expected with its standard error, and the intercept on the log-odds scale.

    `z` is the test of "the scores are right" with the variance they imply. `shrunk` says that
    one class is missing, so the intercept is the bias-reduced one (the plain one is infinite).
    """

    observed: float
    expected: float
    ratio: float | None
    ratio_se: float
    intercept: float
    intercept_se: float
    z: float
    shrunk: bool


def in_the_large(
    p: FloatArray,
    y: FloatArray,
    weight: FloatArray | None = None,
    cluster: IntArray | None = None,
) -> InTheLarge | None:
    """Compare labels y (n,) with probabilities p (n,); None without rows.

    The intercept is the maximum-likelihood shift of log odds with the scores' own log odds as
    offset; if only one class is seen it is that of Firth (1993).
    """
    if not len(p):
        return None
    ones = np.ones(len(p)) if weight is None else weight
    offset = log_odds(p)
    observed, expected = float(ones @ y), float(ones @ p)
    fit = fit_logistic(np.ones((len(p), 1)), y, offset=offset, weight=weight, cluster=cluster)
    shrunk = fit is None
    if fit is not None:
        intercept, se = float(fit.coefficients[0]), fit.se(0)
    else:
        intercept, se = _firth(offset, y, ones)
    q = sigmoid(offset + intercept)
    plain = cluster is None and (weight is None or np.ptp(ones) == 0.0)
    spread = squared_sums(ones * (y - q), cluster)
    if plain or shrunk:
        spread = float(ones**2 @ (q * (1.0 - q)))
    implied = float(ones**2 @ (p * (1.0 - p)))
    if not plain:
        implied = squared_sums(ones * (y - p), cluster)
    surplus = observed - expected
    z = surplus / np.sqrt(implied) if implied > 0.0 else np.sign(surplus) * 40.0
    # a ratio to less than half an expected event says nothing that the intercept does not
    told = expected >= 0.5
    ratio = observed / expected if told else None
    ratio_se = np.sqrt(spread) / expected if told else 0.0
    return InTheLarge(observed, expected, ratio, float(ratio_se), intercept, se, float(z), shrunk)


def _firth(offset: FloatArray, y: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Bias-reduced intercept and standard error; finite when one class is missing."""
    from scipy.optimize import brentq

    weight = weight / weight.mean()

    def slope(a: float) -> float:
        q, rest = sigmoid(offset + a), sigmoid(-offset - a)
        information = weight * q * rest
        pull = float(information @ (rest - q)) / float(information.sum())
        return float(weight @ (y * rest - (1.0 - y) * q)) + 0.5 * pull

    a = float(brentq(slope, -60.0, 60.0))
    information = float(weight @ (sigmoid(offset + a) * sigmoid(-offset - a)))
    return a, float(1.0 / np.sqrt(information))
