"""The error that a reference's own recalibration curve brings into every comparison with it.

The curve is known as well as the reference's labels allow. An error of its log odds at the scores
of today looks like a change, so what it does to today's level and slope, to first order, is part of
today's intervals. It grows where scores have moved away from those the curve was learnt on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from detectors.calibration.logistic import fit_logistic
from detectors.calibration.recalibration import Recalibration
from detectors.calibration.rows import (
    SAFE,
    JudgedRows,
    effective_rows,
    log_odds,
    squared_sums,
)
from detectors.records import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceNoise:
    """Covariance (k, k) of the log odds of a curve in the terms of `_terms`; k = 0 without one.

    `rare` are the reference's effective labels of the rarer class, None without a reference.
    """

    curve: Recalibration | None = None
    kept: tuple[int, ...] = ()
    covariance: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    rare: float | None = None

    def errors(self, score: FloatArray, weight: FloatArray) -> tuple[float, float]:
        """Standard errors that the curve adds to level and slope of rows (n,) of these scores."""
        if self.curve is None or not len(self.covariance):
            return 0.0, 0.0
        r = self.curve.apply(score)
        information = weight * r * (1.0 - r)
        total = float(information.sum())
        if not total > 0.0:
            return 0.0, 0.0
        z = log_odds(r)
        away = z - float(information @ z) / total
        spread = float(information @ away**2)
        level = self._sums(score, information / total)
        tilt = self._sums(score, information * away / spread if spread > 1e-12 else 0.0 * away)
        return self._error(level), self._error(tilt)

    def _sums(self, score: FloatArray, by: FloatArray) -> FloatArray:
        """Σ by · term (k,) over rows."""
        assert self.curve is not None
        if self.curve.method == "isotonic":
            block = np.searchsorted(np.array(self.curve.edges), score, side="right")
            return np.bincount(block, weights=by, minlength=len(self.curve.values)).astype(float)
        return np.asarray(by @ _terms(score)[:, self.kept])

    def _error(self, towards: FloatArray) -> float:
        return float(np.sqrt(max(0.0, float(towards @ self.covariance @ towards))))


def reference_noise(
    base: JudgedRows | None, curve: Recalibration | None, design_effect: float
) -> ReferenceNoise:
    """How well the reference's labelled rows know their curve."""
    if base is None or curve is None or not len(base):
        return ReferenceNoise()
    ones, total = float(base.weight @ base.label), float(base.weight.sum())
    rare = min(ones, total - ones) * effective_rows(base.weight) / total / design_effect
    if curve.method == "isotonic":
        kept: tuple[int, ...] = ()
        covariance = _of_blocks(base, curve)
    else:
        kept, covariance = _of_beta(base, curve)
    return ReferenceNoise(curve, kept, covariance * design_effect, rare)


def _terms(score: FloatArray) -> FloatArray:
    """What a beta curve's log odds are linear in: ln p, -ln(1 - p), 1, as (n, 3)."""
    safe = np.clip(score, SAFE, 1.0 - SAFE)
    return np.column_stack([np.log(safe), -np.log1p(-safe), np.ones(len(safe))])


def _of_beta(base: JudgedRows, curve: Recalibration) -> tuple[tuple[int, ...], FloatArray]:
    """Terms that were learnt and their covariance; the level alone where no more can be."""
    if curve.values[:2] != (1.0, 1.0):
        # a term the fit left out is not known to be nothing
        kept = (0, 1, 2)
        fit = fit_logistic(
            _terms(base.score)[:, kept], base.label, weight=base.weight, cluster=base.cluster
        )
        if fit is not None:
            return kept, fit.covariance
    r = curve.apply(base.score)
    information = float(base.weight @ (r * (1.0 - r)))
    spread = float(base.weight**2 @ (r * (1.0 - r)))
    if base.cluster is not None:
        spread = max(spread, squared_sums(base.weight * (base.label - r), base.cluster))
    return (2,), np.array([[spread / information**2 if information > 0.0 else 0.0]])


def _of_blocks(base: JudgedRows, curve: Recalibration) -> FloatArray:
    """Variance of each block's log odds, on the diagonal; more where rows come in clusters."""
    block = np.searchsorted(np.array(curve.edges), base.score, side="right")
    r = curve.apply(base.score)
    blocks = len(curve.values)
    information = np.bincount(block, weights=base.weight * r * (1.0 - r), minlength=blocks)
    spread = np.bincount(block, weights=base.weight**2 * r * (1.0 - r), minlength=blocks)
    if base.cluster is not None:
        together = squared_sums(base.weight * (base.label - r), base.cluster)
        together = max(1.0, together / max(float(spread.sum()), 1e-12))
    else:
        together = 1.0
    known = information > 0.0
    variance = np.where(known, together * spread / np.where(known, information, 1.0) ** 2, 0.0)
    return np.diag(variance)
