"""What the scores alone say about the label rate of the current window.

Two estimates with opposite assumptions: one believes that P(x | y) held and finds the rate under
which the current scores are likeliest (Saerens, Latinne & Decaestecker, 2002; on recalibrated
scores it is sharper than inverting a confusion matrix: Alexandari, Kundaje & Shrikumar, 2020), the
covariate-weighted one believes that P(y | x) held. On real pairs of domains both fail, so neither
is acted upon without labels: they serve to check whether a change that labels show is a pure change
of the label rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.calibration.cox import cox_line
from detectors.calibration.rows import log_odds, sigmoid
from detectors.records import FloatArray

SMALLEST, LARGEST = 0.001, 0.999
STEPS = 50


@dataclass(frozen=True, slots=True)
class LabelRate:
    """An implied share of label 1, and its change from the reference's in log odds.

    The z are signed roots of likelihood ratios: `change_z` against no change, `gap_z` against the
    share that labels show. 0 where scores say nothing.
    """

    rate: float
    change: float
    change_z: float
    gap_z: float


def log_odds_of(rate: float) -> float:
    return float(log_odds(np.array(rate)))


def implied_rate(
    score_ref: FloatArray, label_ref: FloatArray, score_cur: FloatArray, shown: float
) -> LabelRate:
    """The label rate under which current scores are likeliest if P(x | y) held.

    Scores are probabilities, recalibrated on the reference first; `shown` is the rate of the
    current labels. Likelihood ratios are narrowed by the reference's own sampling. The rate is
    kept inside [.001, .999].
    """
    base = float(label_ref.mean())
    line = cox_line(score_ref, label_ref)
    if line is None:
        return LabelRate(base, 0.0, 0.0, 0.0)
    intercept, slope = line.coefficients
    p = sigmoid(intercept + slope * log_odds(score_cur))
    zero = (1 - p) / (1 - base)  # likelihood of a score in either class, over that in both
    lift = p / base - zero
    low, high = SMALLEST, LARGEST
    for _ in range(STEPS):  # the log likelihood is concave, so its slope changes sign once
        rate = (low + high) / 2
        rising = float((lift / (zero + rate * lift)).sum()) > 0
        low, high = (rate, high) if rising else (low, rate)
    narrowed = 1 / (1 + len(score_cur) / len(score_ref))

    def z(other: float) -> float:
        ratio = float(np.log((zero + rate * lift) / (zero + other * lift)).sum())
        return float(np.sign(rate - other) * np.sqrt(2 * max(ratio, 0.0) * narrowed))

    change = log_odds_of(rate) - log_odds_of(base)
    return LabelRate(rate, change, z(base), z(min(max(shown, SMALLEST), LARGEST)))


def covariate_weighted_rate(
    score_ref: FloatArray, label_ref: FloatArray, weight: FloatArray, score_cur: FloatArray
) -> float:
    """Mean probability over current rows, recalibrated on reference rows weighted to look alike.

    Scores are probabilities. NaN where the weighted recalibration line does not exist.
    """
    line = cox_line(score_ref, label_ref, weight)
    if line is None:
        return float("nan")
    intercept, slope = line.coefficients
    return float(sigmoid(intercept + slope * log_odds(score_cur)).mean())


def importance_weights(g: FloatArray) -> FloatArray:
    """Density ratio g / (1 - g), cut at its .995 quantile so that no row decides alone."""
    ratio = g / (1 - g)
    return np.minimum(ratio, np.quantile(ratio, 0.995))
