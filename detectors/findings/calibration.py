"""How calibration and ranking changed from the reference to the current window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.findings.two_sample import auc
from detectors.records import FloatArray, Task

STEPS = 15
RIDGE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationChange:
    """Changes from reference to current, each with its z; residuals after recalibration.

    Probabilities: intercept in log odds at slope 1, Cox slope, AUC. Regression: mean residual
    in reference sd of the label, slope of label on prediction, and Fisher z of their correlation.
    `line_ref` is (intercept, slope) of the reference's recalibration.
    """

    intercept: float
    intercept_z: float
    slope: float
    slope_z: float
    ranking: float
    ranking_z: float
    residual_ref: FloatArray
    residual_cur: FloatArray


def calibration_change(
    task: Task,
    score_ref: FloatArray,
    label_ref: FloatArray,
    score_cur: FloatArray,
    label_cur: FloatArray,
) -> CalibrationChange:
    """Compare two labelled windows; scores are log odds for probabilities, values otherwise."""
    if task is Task.REGRESSION:
        return _regression(score_ref, label_ref, score_cur, label_cur)
    (line_r, se_r), (line_c, se_c) = logistic(score_ref, label_ref), logistic(score_cur, label_cur)
    (a_r, sa_r), (a_c, sa_c) = shift(score_ref, label_ref), shift(score_cur, label_cur)
    auc_r, auc_c = _auc_of(score_ref, label_ref), _auc_of(score_cur, label_cur)
    se_auc = np.hypot(auc_error(auc_r, label_ref), auc_error(auc_c, label_cur))
    return CalibrationChange(
        intercept=a_c - a_r,
        intercept_z=_ratio(a_c - a_r, float(np.hypot(sa_r, sa_c))),
        slope=line_c[1] - line_r[1],
        slope_z=_ratio(line_c[1] - line_r[1], float(np.hypot(se_r[1], se_c[1]))),
        ranking=auc_c - auc_r,
        ranking_z=_ratio(auc_c - auc_r, float(se_auc)),
        residual_ref=label_ref - sigmoid(line_r[0] + line_r[1] * score_ref),
        residual_cur=label_cur - sigmoid(line_c[0] + line_c[1] * score_cur),
    )


def sigmoid(z: FloatArray) -> FloatArray:
    result: FloatArray = 1 / (1 + np.exp(-np.clip(z, -700, 700)))
    return result


def logistic(
    logit: FloatArray, label: FloatArray, weight: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Cox recalibration logit P(y) = a + b logit p: (a, b) and their standard errors."""
    return _newton(np.column_stack([np.ones(len(logit)), logit]), 0 * logit, label, weight)


def shift(logit: FloatArray, label: FloatArray) -> tuple[float, float]:
    """Calibration in the large: the intercept beside offset logit p, and its standard error."""
    beta, se = _newton(np.ones((len(logit), 1)), logit, label, None)
    return float(beta[0]), float(se[0])


def auc_error(value: float, label: FloatArray) -> float:
    """Standard error of an AUC from its value and the class counts (Hanley & McNeil, 1982)."""
    ones = float((label == 1).sum())
    zeros = len(label) - ones
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (ones - 1) * (q1 - value**2) + (zeros - 1) * (q2 - value**2)
    return float(np.sqrt(max(spread, 0.0) / (ones * zeros)))


def _newton(
    X: FloatArray, offset: FloatArray, label: FloatArray, weight: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Weighted logistic regression by Newton steps, with a ridge that only prevents overflow."""
    w = np.ones(len(label)) if weight is None else weight
    beta = np.zeros(X.shape[1])
    H = np.eye(X.shape[1])
    for _ in range(STEPS):
        p = sigmoid(offset + X @ beta)
        H = X.T @ (X * (w * p * (1 - p) + 1e-9)[:, None]) + RIDGE * np.eye(X.shape[1])
        beta = beta + np.linalg.solve(H, X.T @ (w * (label - p)))
    return beta, np.sqrt(np.diag(np.linalg.inv(H)))


def _regression(
    score_ref: FloatArray, label_ref: FloatArray, score_cur: FloatArray, label_cur: FloatArray
) -> CalibrationChange:
    spread = float(np.std(label_ref)) or 1.0
    fits = [_line(score_ref, label_ref), _line(score_cur, label_cur)]
    bias = [(label_ref - score_ref) / spread, (label_cur - score_cur) / spread]
    move = float(bias[1].mean() - bias[0].mean())
    move_se = float(np.sqrt(sum(b.var() / len(b) for b in bias)))
    slope_se = float(np.hypot(fits[0].slope_se, fits[1].slope_se))
    fisher = [np.arctanh(np.clip(fit.correlation, -0.9999, 0.9999)) for fit in fits]
    fisher_se = float(np.sqrt(1 / (len(label_ref) - 3) + 1 / (len(label_cur) - 3)))
    return CalibrationChange(
        intercept=move,
        intercept_z=_ratio(move, move_se),
        slope=fits[1].slope - fits[0].slope,
        slope_z=_ratio(fits[1].slope - fits[0].slope, slope_se),
        ranking=fits[1].correlation - fits[0].correlation,
        ranking_z=float(fisher[1] - fisher[0]) / fisher_se,
        residual_ref=fits[0].residual / spread,
        residual_cur=fits[1].residual / spread,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    slope: float
    slope_se: float
    correlation: float
    residual: FloatArray


def _line(x: FloatArray, y: FloatArray) -> _Line:
    """Least squares of y on x with a heteroscedasticity-robust slope error (HC0)."""
    centred = x - x.mean()
    square = float(centred @ centred)
    if square <= 0:
        return _Line(float("nan"), float("nan"), 0.0, y - y.mean())
    slope = float(centred @ y) / square
    residual = y - y.mean() - slope * centred
    se = float(np.sqrt(((centred * residual) ** 2).sum())) / square
    spread = float(np.std(y)) * np.sqrt(square / len(x))
    return _Line(slope, se, slope * square / len(x) / spread if spread > 0 else 0.0, residual)


def _auc_of(score: FloatArray, label: FloatArray) -> float:
    return auc(score[label == 0], score[label == 1])


def _ratio(value: float, se: float) -> float:
    return value / se if se > 0 else float("nan")
