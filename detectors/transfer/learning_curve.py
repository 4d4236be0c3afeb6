"""How a baseline's loss falls with the rows it learns from, and where it crosses the transferred.

The curve is R(n) = a + b n^-c with a, b >= 0 (Cortes and others, 1993; Viering and Loog, 2023).
For each c on a grid the best a and b are a two-variable non-negative least squares problem with
a closed form, so the bounded fit needs no start value and 200 bootstrap fits take milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray

EXPONENTS = np.linspace(0.1, 1.5, 57)
BOOTSTRAPS = 200
FEWEST_BLOCKS = 5
SPREAD = 1.5
"""Rows of the largest point over those of the smallest: a narrower span shows no curve."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One block of later rows: what a model trained on `trained` rows lost on them.

    `loss` and `transferred` are mean losses over the block's `rows`; `transferred` may be NaN.
    """

    trained: float
    rows: float
    loss: float
    transferred: float = float("nan")


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The fit, what doubling the rows would gain, and where the curves cross.

    `gain` is (R(n) - R(2n)) / R(n) at the rows trained on now, with its 5 and 95 % bounds.
    `crossing` is n*, the rows at which the baseline would match the transferred model; None: never
    at any size, or nothing to compare with. An upper bound of None is infinite.
    """

    floor: float
    scale: float
    exponent: float
    trained: float
    gain: float
    gain_ci: tuple[float, float]
    crossing: float | None
    crossing_ci: tuple[float | None, float | None]

    def at(self, rows: float) -> float:
        """R(n): the loss to expect after training on this many rows."""
        return self.floor + self.scale * float(rows**-self.exponent)


def fit_curve(
    n: FloatArray, loss: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Best (a, b, c) for each row of loss (B, m) and weight (B, m), measured at n (m,)."""
    best_cost = np.full(len(loss), np.inf)
    a_out, b_out, c_out = np.zeros(len(loss)), np.zeros(len(loss)), np.zeros(len(loss))
    total = weight.sum(axis=1)
    mean_y = (weight * loss).sum(axis=1) / total
    for c in EXPONENTS:
        x = (n / n.min()) ** -c
        mean_x = (weight @ x) / total
        dx, dy = x[None, :] - mean_x[:, None], loss - mean_y[:, None]
        sxx = (weight * dx * dx).sum(axis=1)
        b = np.divide((weight * dx * dy).sum(axis=1), sxx, out=np.zeros_like(sxx), where=sxx > 0)
        a = mean_y - b * mean_x
        through = (weight * loss) @ x / np.maximum(weight @ (x * x), 1e-300)
        b = np.where(a < 0.0, through, b)
        a = np.where(a < 0.0, 0.0, a)
        a = np.where(b < 0.0, mean_y, a)
        b = np.maximum(b, 0.0)
        cost = (weight * (loss - a[:, None] - b[:, None] * x) ** 2).sum(axis=1)
        better = cost < best_cost - 1e-15
        best_cost = np.where(better, cost, best_cost)
        a_out = np.where(better, a, a_out)
        b_out = np.where(better, b * n.min() ** c, b_out)
        c_out = np.where(better, c, c_out)
    return a_out, b_out, c_out


def learning_curve(points: Sequence[CurvePoint], *, seed: int = 0) -> LearningCurve | None:
    """Fit the points and resample whole blocks 200 times for the bounds.

    Blocks are taken as they come, a day of cohorts each, so rows of one day stay together. None
    with fewer than five blocks, or where the rows trained on hardly differ.
    """
    kept = [p for p in points if p.rows > 0 and p.trained > 0 and np.isfinite(p.loss)]
    if len(kept) < FEWEST_BLOCKS:
        return None
    n = np.array([p.trained for p in kept])
    if n.max() < SPREAD * n.min():
        return None
    loss = np.array([p.loss for p in kept])
    rows = np.array([p.rows for p in kept])
    transferred = np.array([p.transferred for p in kept])
    draws = np.random.default_rng(seed).multinomial(
        len(kept), np.full(len(kept), 1.0 / len(kept)), BOOTSTRAPS
    )
    # a draw in which all blocks are of one size has no curve to fit
    spans = np.where(draws > 0, n, -np.inf).max(axis=1) / np.where(draws > 0, n, np.inf).min(axis=1)
    draws = draws[spans >= SPREAD]
    weight = np.vstack([rows, draws * rows])
    a, b, c = fit_curve(n, np.broadcast_to(loss, weight.shape), weight)
    now = float(n.max())
    at = a + b * now**-c
    gain = b * (now**-c - (2.0 * now) ** -c) / np.maximum(at, 1e-300)
    compared = np.isfinite(transferred)
    crossing: FloatArray = np.full(len(a), np.nan)
    if compared.any():
        w = weight[:, compared]
        level = (w @ transferred[compared]) / np.maximum(w.sum(axis=1), 1e-300)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            reach = level - a
            crossing = np.where(reach > 0.0, (b / np.maximum(reach, 1e-300)) ** (1.0 / c), np.inf)
    bounds = np.quantile(gain[1:], [0.05, 0.95]) if len(draws) else (gain[0], gain[0])
    return LearningCurve(
        floor=float(a[0]),
        scale=float(b[0]),
        exponent=float(c[0]),
        trained=now,
        gain=float(gain[0]),
        gain_ci=(float(bounds[0]), float(bounds[1])),
        crossing=_finite(crossing[0]),
        crossing_ci=_spread(crossing[1:]) if compared.any() else (None, None),
    )


def _spread(values: FloatArray) -> tuple[float | None, float | None]:
    if not len(values):
        return None, None
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return _finite(low), _finite(high)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) and value < 1e12 else None
