"""Evidence of miscalibration that allows any dependence inside a cluster of forecasts.

The forecasts of one match, one day or one person share an outcome: multiplying their evidence
counts it several times. The average of e-values is one whatever their dependence (Vovk and Wang
2021), so rows are averaged within a cluster and only clusters are multiplied.
"""

from __future__ import annotations

import numpy as np

from detectors.calibration.rows import log_odds
from detectors.records import FloatArray, IntArray


def log_ratio(bet: FloatArray, null: FloatArray, y: FloatArray) -> FloatArray:
    """Log likelihood ratio (n,) of labels y (n,) between two log odds (n,)."""
    sign = np.where(y > 0.5, 1.0, -1.0)
    return np.asarray(np.logaddexp(0.0, -sign * null) - np.logaddexp(0.0, -sign * bet))


def row_e_values(p: FloatArray, y: FloatArray, *, shift: float) -> FloatArray:
    """E-value (n,) of each label y against probability p, for log odds moved by `shift`."""
    z = log_odds(p)
    return np.asarray(np.exp(log_ratio(z + shift, z, y)), dtype=np.float64)


def group_means(values: FloatArray, group: IntArray) -> FloatArray:
    """Mean (g, j) of values (n, j) over each group's rows; `group` (n,) numbers them from 0."""
    rows = np.bincount(group).astype(np.float64)
    sums = [np.bincount(group, values[:, j], len(rows)) for j in range(values.shape[1])]
    return np.asarray(np.stack(sums, axis=1) / rows[:, None])


def cluster_log_e(
    p: FloatArray, y: FloatArray, cluster: IntArray, *, shift: float
) -> tuple[FloatArray, float]:
    """Log e-value of each cluster (c,) and of all; `cluster` (n,) numbers them from 0."""
    logs = np.log(group_means(row_e_values(p, y, shift=shift)[:, None], cluster)[:, 0])
    return np.asarray(logs), float(logs.sum())
