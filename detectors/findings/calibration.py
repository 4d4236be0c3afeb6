"""How calibration and ranking changed from the reference to the current window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.calibration.cox import cox_line
from detectors.calibration.in_the_large import in_the_large
from detectors.calibration.rows import log_odds, sigmoid
from detectors.findings.two_sample import auc
from detectors.records import FloatArray, Task

STEPS = 50
TINY = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationChange:
    """Changes from reference to current, each with its z; residuals after recalibration.

    Probabilities: intercept in log odds at slope 1, Cox slope, AUC. Regression: mean residual
    in reference sd of the label, slope of label on prediction, and their correlation (z after
    Fisher). `reversed_z` is how sure it is that the order has turned round: the lesser of the
    slopes' own z, positive in the reference and negative now. `relabelled` are the residuals of
    both windows under a change of the label's rule that treats all rows of a class alike, `once`
    (m,) what current scores meant in the reference, as probabilities (None: a regression). NaN
    where a line does not exist: scores that do not vary, or that separate labels.
    """

    intercept: float
    intercept_z: float
    slope: float
    slope_z: float
    ranking: float
    ranking_z: float
    reversed_z: float
    residual_ref: FloatArray
    residual_cur: FloatArray
    relabelled: tuple[FloatArray, FloatArray] | None = None
    once: FloatArray | None = None

    @property
    def residuals(self) -> tuple[tuple[FloatArray, FloatArray], ...]:
        """Of both windows, under either uniform change that could explain the labels."""
        line = (self.residual_ref, self.residual_cur)
        return (line,) if self.relabelled is None else (line, self.relabelled)


def calibration_change(
    task: Task,
    score_ref: FloatArray,
    label_ref: FloatArray,
    score_cur: FloatArray,
    label_cur: FloatArray,
) -> CalibrationChange:
    """Compare two windows whose scores (n,), (m,) and labels are all known.

    Both classes must be there unless the task is a regression.
    """
    if task is Task.REGRESSION:
        spread = float(np.std(label_ref)) or 1.0
        before = _line(score_ref / spread, label_ref / spread)
        now = _line(score_cur / spread, label_cur / spread)
        relabelled, p = None, None
    else:
        before, now = _curve(score_ref, label_ref), _curve(score_cur, label_cur)
        p = _as_before(before, score_cur)
        a, b = relabelling(p, label_cur)
        relabelled = (b - a) * before.residual, label_cur - (a * (1 - p) + b * p)
    return CalibrationChange(
        intercept=now.level - before.level,
        intercept_z=_z(now.level - before.level, before.level_se, now.level_se),
        slope=now.slope - before.slope,
        slope_z=_z(now.slope - before.slope, before.slope_se, now.slope_se),
        ranking=now.ranking - before.ranking,
        ranking_z=_z(now.ordered - before.ordered, before.ordered_se, now.ordered_se),
        reversed_z=min(_z(before.slope, before.slope_se, 0.0), -_z(now.slope, now.slope_se, 0.0)),
        residual_ref=before.residual,
        residual_cur=now.residual,
        relabelled=relabelled,
        once=p,
    )


def relabelling(p: FloatArray, label: FloatArray) -> tuple[float, float]:
    """Shares a and b of rows once 0 and once 1 that are 1 now, whatever their inputs.

    p (n,) is the probability under the old rule, so that now P(label = 1) = a (1 - p) + b p. The
    likeliest shares, by Fisher scoring: the likelihood is concave in both.
    """
    X = np.column_stack([1 - p, p])
    shares = np.array([0.02, 0.98])
    for _ in range(STEPS):
        rate = np.clip(X @ shares, TINY, 1 - TINY)
        weighted = X / (rate * (1 - rate))[:, None]
        step, *_ = np.linalg.lstsq(weighted.T @ X, weighted.T @ (label - rate), rcond=None)
        shares = np.clip(shares + step, 0.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    return float(shares[0]), float(shares[1])


def _as_before(fit: _Fit, score: FloatArray) -> FloatArray:
    """Current scores (n,) recalibrated as the reference's are."""
    z = log_odds(score)
    if np.isnan(fit.slope):
        return sigmoid(z + fit.level)
    return sigmoid(fit.intercept + fit.slope * z)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """Level, slope and ranking of one window; `ordered` is the ranking on its test's scale."""

    level: float
    level_se: float
    slope: float
    slope_se: float
    ranking: float
    ordered: float
    ordered_se: float
    residual: FloatArray
    intercept: float = 0.0


def _curve(p: FloatArray, y: FloatArray) -> _Fit:
    """Probabilities against 0 and 1."""
    level = in_the_large(p, y)
    assert level is not None  # only without rows
    line = cox_line(p, y)
    ranking = auc(p[y == 0], p[y == 1])
    intercept = 0.0
    if line is None:
        slope = slope_se = float("nan")
        expected = sigmoid(log_odds(p) + level.intercept)
    else:
        intercept, slope = map(float, line.coefficients)
        slope_se = line.se(1)
        expected = sigmoid(intercept + slope * log_odds(p))
    return _Fit(
        level.intercept,
        level.intercept_se,
        slope,
        slope_se,
        ranking,
        ranking,
        auc_error(ranking, y),
        y - expected,
        intercept,
    )


def auc_error(value: float, label: FloatArray) -> float:
    """Standard error of an AUC from its value and the class counts (Hanley & McNeil, 1982)."""
    ones = float((label == 1).sum())
    zeros = len(label) - ones
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (ones - 1) * (q1 - value**2) + (zeros - 1) * (q2 - value**2)
    return float(np.sqrt(max(spread, 0.0) / (ones * zeros)))


def _line(x: FloatArray, y: FloatArray) -> _Fit:
    """Values against predictions by least squares; slope error robust to uneven noise (HC0)."""
    bias = y - x
    level, level_se = float(bias.mean()), float(bias.std() / np.sqrt(len(y)))
    centred = x - x.mean()
    square = float(centred @ centred)
    spread = float(np.std(y)) * float(np.std(x))
    if square <= 0 or spread <= 0:
        hole = float("nan")
        return _Fit(level, level_se, hole, hole, hole, hole, hole, y - y.mean())
    slope = float(centred @ y) / square
    residual = y - y.mean() - slope * centred
    slope_se = float(np.sqrt(((centred * residual) ** 2).sum())) / square
    correlation = float(centred @ y) / len(x) / spread
    fisher = float(np.arctanh(np.clip(correlation, -0.9999, 0.9999)))
    fisher_se = 1 / np.sqrt(len(x) - 3)
    return _Fit(level, level_se, slope, slope_se, correlation, fisher, fisher_se, residual)


def _z(change: float, se_ref: float, se_cur: float) -> float:
    se = float(np.hypot(se_ref, se_cur))
    return change / se if se > 0 else float("nan")
