"""Logistic regression by Newton's method: offset, weights and clusters, two or three columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.calibration.rows import sigmoid
from detectors.records import FloatArray, IntArray

STEPS = 60
DIVERGED = 40.0
MANY_ROWS = 50_000
THINNED = 32


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """Coefficients (k,) and their covariance (k, k)."""

    coefficients: FloatArray
    covariance: FloatArray

    def se(self, k: int) -> float:
        return float(np.sqrt(max(self.covariance[k, k], 0.0)))


def fit_logistic(
    columns: FloatArray,
    label: FloatArray,
    *,
    offset: FloatArray | None = None,
    weight: FloatArray | None = None,
    cluster: IntArray | None = None,
) -> LogisticFit | None:
    """Maximum likelihood of P(label = 1) = σ(columns @ coefficients + offset).

    columns (n, k), label (n,) in [0, 1]. Without weights and clusters the covariance is the
    inverse information; with either it is the sandwich of White (1980), summed by cluster.
    None where no finite maximum exists: one class, separation, columns that do not vary.
    """
    n, k = columns.shape
    if n <= k:
        return None
    ones = np.ones(n) if weight is None else weight
    base = np.zeros(n) if offset is None else offset
    beta = np.zeros(k)
    if n > MANY_ROWS:  # a start from a part of the rows saves most passes over all of them
        part = slice(None, None, THINNED)
        rough = fit_logistic(columns[part], label[part], offset=base[part], weight=ones[part])
        beta = beta if rough is None else rough.coefficients
    likelihood = -np.inf
    step = np.zeros(k)
    for _ in range(STEPS):
        z = base + columns @ beta
        fresh = float(ones @ (label * z - np.logaddexp(0.0, z)))
        if fresh < likelihood - 1e-9 * abs(likelihood):  # overshot: halve the last step
            step = step / 2.0
            beta = beta - step
            if np.abs(step).max() < 1e-12:
                return None
            continue
        likelihood = fresh
        q = sigmoid(z)
        information = (columns * (ones * q * (1.0 - q))[:, None]).T @ columns
        score = columns.T @ (ones * (label - q))
        scale = np.sqrt(np.diag(information))
        if not (scale > 1e-10).all():
            return None
        correlation = information / np.outer(scale, scale)
        if np.linalg.cond(correlation) > 1e12:
            return None
        step = np.linalg.solve(correlation, score / scale) / scale
        beta = beta + step
        if np.abs(beta).max() > DIVERGED:
            return None
        if np.abs(step).max() < 1e-8:  # quadratic: what is left is the square of that
            break
    else:
        return None
    bread = np.linalg.inv(correlation) / np.outer(scale, scale)
    if cluster is None and (weight is None or np.ptp(weight) == 0.0):
        return LogisticFit(beta, bread / float(ones[0]))
    residuals = columns * (ones * (label - q))[:, None]
    if cluster is not None:
        groups = int(cluster.max()) + 1
        residuals = np.stack(
            [np.bincount(cluster, residuals[:, j], groups) for j in range(k)], axis=1
        )
    return LogisticFit(beta, bread @ (residuals.T @ residuals) @ bread)
