"""What the scores alone say about the label rate of the current window.

Two estimates with opposite assumptions: black-box shift estimation believes that P(x | y)
held (Lipton, Wang & Smola, 2018), the covariate-weighted one believes that P(y | x) held.
On real pairs of domains both fail, so neither is acted upon without labels: they serve to
check whether a change that labels show is a pure change of the label rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.calibration.cox import cox_line
from detectors.calibration.rows import log_odds, sigmoid
from detectors.records import FloatArray

BOOTSTRAPS = 200
SMALLEST_GAP = 0.02


@dataclass(frozen=True, slots=True)
class LabelRate:
    """An estimated share of label 1, its standard error, and its change in log odds."""

    rate: float
    se: float
    change: float
    change_se: float


def log_odds_of(rate: float) -> float:
    return float(log_odds(np.array(rate)))


def black_box_rate(
    score_ref: FloatArray, label_ref: FloatArray, score_cur: FloatArray, *, seed: int
) -> LabelRate:
    """Invert the reference's confusion of a hard prediction against the current share of it.

    The cut is the reference quantile that predicts as many ones as there are. The standard
    error resamples rows of both windows. The rate is kept inside [.001, .999].
    """
    cut = np.quantile(score_ref, 1 - label_ref.mean())
    said, hits = score_ref > cut, label_ref == 1
    cells = np.array(
        [(said & hits).sum(), (~said & hits).sum(), (said & ~hits).sum(), (~said & ~hits).sum()],
        dtype=np.float64,
    )
    share = float((score_cur > cut).mean())
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(score_ref), cells / cells.sum(), BOOTSTRAPS).astype(np.float64)
    shares = rng.binomial(len(score_cur), share, BOOTSTRAPS) / len(score_cur)
    rate = float(_inverted(cells, np.array(share)))
    se = float(np.std(_inverted(drawn, shares)))
    change = log_odds_of(rate) - log_odds_of(float(label_ref.mean()))
    return LabelRate(rate, se, change, se / (rate * (1 - rate)))


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


def _inverted(cells: FloatArray, share: FloatArray) -> FloatArray:
    """Rate of ones from confusion counts (..., 4) and the share of predicted ones (...)."""
    sensitivity = cells[..., 0] / np.maximum(cells[..., 0] + cells[..., 1], 1)
    fall_out = cells[..., 2] / np.maximum(cells[..., 2] + cells[..., 3], 1)
    gap = np.maximum(sensitivity - fall_out, SMALLEST_GAP)
    return np.clip((share - fall_out) / gap, 0.001, 0.999)
