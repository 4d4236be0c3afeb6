"""Streams of one deployment lend each other what they know about autocorrelation."""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray, IntArray

PSEUDO_STREAMS = 5.0
PASSES = 30
CAUTION = 0.8


def pool(likelihood: FloatArray, base: FloatArray | None = None) -> FloatArray:
    """Posterior weights (K, G) over a grid from each stream's likelihood weights (K, G).

    The common prior is learnt from all streams together with five pseudo-streams of shape
    `base` (G,), flat unless given: parametric empirical Bayes (Morris, 1983) on a grid.
    """
    streams, grid = likelihood.shape
    flat = np.full(grid, 1.0 / grid)
    shape = flat if base is None else base / base.sum()
    prior = shape * grid
    for _ in range(PASSES):
        weights = _normalised(likelihood * prior)
        prior = (weights.sum(axis=0) + PSEUDO_STREAMS * shape) / (streams + PSEUDO_STREAMS)
    return _normalised(likelihood * prior)


def cautious_index(weights: FloatArray) -> IntArray:
    """Index (K,) of the .8 quantile of each row: believe in more memory than the mode says."""
    reached = np.cumsum(weights, axis=1) >= CAUTION * (1.0 - 1e-12)
    last = weights.shape[1] - 1
    index: IntArray = np.where(reached.any(axis=1), reached.argmax(axis=1), last)
    return index


def _normalised(weights: FloatArray) -> FloatArray:
    total: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return total
