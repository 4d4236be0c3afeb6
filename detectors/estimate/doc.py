"""Difference of confidences: accuracy falls as mean confidence does (Guillory et al. 2021)."""

from __future__ import annotations

from detectors.records import FloatArray


def doc_accuracy(
    confidence: FloatArray,
    right: FloatArray,
    weight: FloatArray,
    current: FloatArray,
    current_weight: FloatArray,
) -> float:
    """Reference accuracy less the drop in mean confidence, kept in [0, 1].

    confidence, right, weight (n,) of the reference; current and its weight (m,).
    """
    total, now = float(weight.sum()), float(current_weight.sum())
    drop = float(weight @ confidence) / total - float(current_weight @ current) / now
    return min(max(float(weight @ right) / total - drop, 0.0), 1.0)
