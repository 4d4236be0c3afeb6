"""Evidence of miscalibration that allows any dependence inside a cluster of forecasts.

The forecasts of one match, one day or one person share an outcome: multiplying their evidence
counts it several times. The average of e-values is one whatever their dependence, so rows are
averaged within a cluster and only clusters are multiplied.
"""

from __future__ import annotations

import numpy as np

from detectors.calibration.rows import log_odds, sigmoid
from detectors.records import FloatArray, IntArray


def row_e_values(p: FloatArray, y: FloatArray, *, shift: float) -> FloatArray:
    """E-value (n,) of each label y against probability p, for log odds moved by `shift`."""
    q = sigmoid(log_odds(p) + shift)
    safe = np.clip(p, 1e-6, 1.0 - 1e-6)
    return np.asarray(np.where(y > 0.5, q / safe, (1.0 - q) / (1.0 - safe)), dtype=np.float64)


def cluster_log_e(
    p: FloatArray, y: FloatArray, cluster: IntArray, *, shift: float
) -> tuple[FloatArray, float]:
    """Log e-value of each cluster (c,) and of all; `cluster` (n,) numbers them from 0."""
    e = row_e_values(p, y, shift=shift)
    logs = np.log(np.bincount(cluster, weights=e) / np.bincount(cluster))
    return np.asarray(logs), float(logs.sum())
