"""Average thresholded confidence: accuracy as the share above a learnt confidence (Garg 2022)."""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray


def atc_threshold(confidence: FloatArray, right: FloatArray, weight: FloatArray) -> float:
    """The confidence below which lies a share of reference rows equal to their error.

    confidence, right (0 or 1) and weight are (n,).
    """
    order = np.argsort(confidence, kind="stable")
    below = np.cumsum(weight[order]) / weight.sum()
    error = 1.0 - float(weight @ right) / float(weight.sum())
    at = int(np.searchsorted(below, error * (1.0 + 1e-12), side="right"))
    return float(confidence[order][min(at, len(order) - 1)])


def atc_accuracy(threshold: float, confidence: FloatArray, weight: FloatArray) -> float:
    """Share of current rows (n,) that are at least as confident as the threshold."""
    return float(weight @ (confidence >= threshold)) / float(weight.sum())
