"""Jensen-Shannon distance: bounded by one, and a metric."""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray


def jensen_shannon(reference: FloatArray, current: FloatArray) -> float:
    """Root of the mean divergence of p and q from their midpoint, in bits, from counts (cells,).

    0 for equal shares, 1 for disjoint ones. Endres and Schindelin (2003).
    """
    p = np.asarray(reference, float) / np.sum(reference)
    q = np.asarray(current, float) / np.sum(current)
    middle = (p + q) / 2
    return float(np.sqrt(max(0.0, (_bits(p, middle) + _bits(q, middle)) / 2)))


def _bits(p: FloatArray, middle: FloatArray) -> float:
    present = p > 0
    return float(np.sum(p[present] * np.log2(p[present] / middle[present])))
