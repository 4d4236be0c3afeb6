"""The rows calibration is judged on: finite score, finite label, positive weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray, IntArray, Task, Window

SAFE = 1e-6
"""Probabilities of exactly 0 and 1 are read as one in a million from there: log odds of ±13.8."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRows:
    """Scores, labels and weights (n,) of the rows `index` of a window.

    `cluster` (n,) numbers the groups that share an outcome, None where each row is its own.
    """

    index: IntArray
    score: FloatArray
    label: FloatArray
    weight: FloatArray
    cluster: IntArray | None

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: IntArray) -> JudgedRows:
        cluster = None
        if self.cluster is not None and len(rows):
            cluster = np.unique(self.cluster[rows], return_inverse=True)[1].astype(np.int64)
        return JudgedRows(
            self.index[rows], self.score[rows], self.label[rows], self.weight[rows], cluster
        )


def judged_rows(window: Window, *, task: Task) -> JudgedRows | None:
    """The labelled and scored rows; None where scores or labels are not recorded at all.

    Outside regression a score beyond [0, 1] is clipped and a label above .5 counts as 1.
    """
    if window.score is None or window.label is None:
        return None
    weight = window.weights()
    usable = np.isfinite(window.score) & np.isfinite(window.label) & np.isfinite(weight)
    index = np.flatnonzero(usable & (weight > 0.0))
    score, label = window.score[index], window.label[index]
    if task is not Task.REGRESSION:
        score, label = np.clip(score, 0.0, 1.0), (label > 0.5).astype(np.float64)
    cluster = None
    if window.cluster is not None and len(index):
        codes = window.cluster.codes[index].astype(np.int64)
        alone = codes < 0
        codes[alone] = codes.max() + 1 + np.arange(int(alone.sum()))
        cluster = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return JudgedRows(index, score, label, weight[index], cluster)


def log_odds(p: FloatArray) -> FloatArray:
    """ln(p / (1 - p)), finite at 0 and 1."""
    safe = np.clip(p, SAFE, 1.0 - SAFE)
    return np.asarray(np.log(safe) - np.log1p(-safe), dtype=np.float64)


def sigmoid(z: FloatArray) -> FloatArray:
    """1 / (1 + exp(-z)), without overflow."""
    from scipy.special import expit

    return np.asarray(expit(z), dtype=np.float64)


def effective_rows(weight: FloatArray) -> float:
    """How many unweighted rows carry as much: (Σω)² / Σω², after Kish (1965)."""
    square = float(weight @ weight)
    return float(weight.sum()) ** 2 / square if square > 0.0 else 0.0


def squared_sums(values: FloatArray, cluster: IntArray | None) -> float:
    """Σ over clusters of (Σ of values within)²: the variance of a sum of dependent residuals."""
    if cluster is not None:
        values = np.bincount(cluster, weights=values).astype(np.float64)
    return float(values @ values)
