"""Spiegelhalter's test: is the Brier score what the probabilities themselves promise?"""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray


def spiegelhalter(
    p: FloatArray, y: FloatArray, weight: FloatArray | None = None
) -> tuple[float, float] | None:
    """Test statistic and two-sided p-value for labels y (n,) and probabilities p (n,).

    None where every p is 0, ½ or 1, or there are no rows: nothing can be tested. After
    Spiegelhalter (1986).
    """
    from scipy.special import ndtr

    ones = np.ones(len(p)) if weight is None else weight
    tilt = 1.0 - 2.0 * p
    variance = float(ones**2 @ (tilt**2 * p * (1.0 - p)))
    if variance <= 1e-300:
        return None
    z = float(ones @ ((y - p) * tilt)) / np.sqrt(variance)
    return float(z), float(2.0 * ndtr(-abs(z)))
