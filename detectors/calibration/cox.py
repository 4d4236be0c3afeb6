"""Cox's recalibration line: logit P(y) = a + b logit p. b below 1 means scores too extreme."""

from __future__ import annotations

import numpy as np

from detectors.calibration.logistic import LogisticFit, fit_logistic
from detectors.calibration.rows import log_odds
from detectors.records import FloatArray, IntArray


def cox_line(
    p: FloatArray,
    y: FloatArray,
    weight: FloatArray | None = None,
    cluster: IntArray | None = None,
) -> LogisticFit | None:
    """Intercept a and slope b of labels y (n,) on the log odds of p (n,), with covariance.

    None where the line does not exist: constant scores, one class, perfect separation.
    After Cox (1958).
    """
    z = log_odds(p)
    if not len(z) or np.ptp(z) < 1e-9:
        return None
    return fit_logistic(np.column_stack([np.ones(len(z)), z]), y, weight=weight, cluster=cluster)
