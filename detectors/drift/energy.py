"""Energy distance: how much farther apart rows of two samples are than rows of one."""

from __future__ import annotations

import math

import numpy as np

from detectors.records import FloatArray

BLOCK = 512


def energy_distance(a: FloatArray, b: FloatArray) -> float:
    """Root of 2 E|X - Y| - E|X - X'| - E|Y - Y'|, of a (n,) or (n, d) and b alike.

    Zero only if both have one distribution. Pairs are taken with replacement (V-statistic), so what
    is under the root is never negative. Needs O(n m d) time and little memory. Szekely and
    Rizzo (2013).
    """
    x = np.asarray(a, float).reshape(len(a), -1)
    y = np.asarray(b, float).reshape(len(b), -1)
    between, within = _mean_distance(x, y), _mean_distance(x, x) + _mean_distance(y, y)
    return math.sqrt(max(0.0, 2 * between - within))


def _mean_distance(x: FloatArray, y: FloatArray) -> float:
    square_x, square_y = np.square(x).sum(axis=1), np.square(y).sum(axis=1)
    total = 0.0
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        if x.shape[1] == 1:
            distance = np.abs(x[block] - y.T)
        else:
            squared = square_x[block, None] + square_y[None, :] - 2 * (x[block] @ y.T)
            distance = np.sqrt(np.maximum(squared, 0.0))
        total += float(distance.sum())
    return total / (len(x) * len(y))
