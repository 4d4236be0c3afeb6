"""The loss of one row, the same for both models, so that their difference means something."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from detectors.records import FloatArray, Task

CLIP = 0.01
"""Scores are clipped to [.01, .99]: one confident miss then costs at most 4.6, and the sign of
the mean difference agrees with that of the Brier score."""

LOSS_NAME: Mapping[Task, str] = MappingProxyType(
    {
        Task.BINARY: "log loss",
        Task.MULTICLASS: "top-label log loss",
        Task.REGRESSION: "squared error",
    }
)


def loss_of(task: Task, score: FloatArray, label: FloatArray) -> FloatArray:
    """Loss (n,) of scores (n,) against labels (n,); NaN where either is missing.

    Binary: log loss in nats of P(label = 1). Multiclass: log loss of the event "the predicted
    class is right", whose probability is the score and whose outcome is the label. Regression:
    squared error in squared units of the label.
    """
    if task is Task.REGRESSION:
        return np.asarray((score - label) ** 2, dtype=np.float64)
    p = np.clip(score, CLIP, 1.0 - CLIP)
    return np.asarray(-(label * np.log(p) + (1.0 - label) * np.log1p(-p)), dtype=np.float64)


def expected_loss(score: FloatArray, p: FloatArray) -> FloatArray:
    """Log loss (n,) of scores (n,) to be expected where the probability of label 1 is p (n,)."""
    q = np.clip(score, CLIP, 1.0 - CLIP)
    return np.asarray(-(p * np.log(q) + (1.0 - p) * np.log1p(-q)), dtype=np.float64)
