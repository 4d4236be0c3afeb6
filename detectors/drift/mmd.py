"""Maximum mean discrepancy: do two sets of embeddings have the same distribution?

The exact statistic compares every pair of rows. With random Fourier features (Rahimi and Recht
2007) it is a squared distance of two mean vectors, so that ten thousand rows with a permutation
p-value take a fraction of a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.records import FloatArray, IntArray

FEATURES = 512
SCALES = (0.5, 1.0, 2.0)
"""The kernel is the mean of three, around the median distance between reference rows."""

PERMUTATIONS = 200
MEDIAN_ROWS = 500

Z_95 = 1.959963985

ROUNDING = 1e-10
"""Squared distances of mean features, which lie in [0, 4], are not known better than this."""

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """`squared` is unbiased and may be below zero; `effect` is its root over the spread of rows.

    An effect of .1 reads like a tenth of a standard deviation, in the space of the kernel.
    """

    squared: float
    effect: float
    effect_ci: tuple[float, float]
    p_value: float


def mmd_squared(x: FloatArray, y: FloatArray, *, bandwidth: float) -> float:
    """The unbiased exact statistic of x (n, d), y (m, d), kernel exp(-|x - y|^2 / 2 bandwidth^2).

    Gretton et al. (2012). Needs n, m >= 2 and O(n m) memory.
    """
    n, m = len(x), len(y)

    def kernel(a: FloatArray, b: FloatArray) -> FloatArray:
        square = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None, :] - 2 * a @ b.T
        values: FloatArray = np.exp(-np.maximum(square, 0.0) / (2 * bandwidth**2))
        return values

    own_x = (kernel(x, x).sum() - n) / (n * (n - 1))
    own_y = (kernel(y, y).sum() - m) / (m * (m - 1))
    return float(own_x + own_y - 2 * kernel(x, y).mean())


def discrepancy(
    reference: Matrix,
    current: Matrix,
    *,
    blocks: tuple[IntArray, IntArray] | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Discrepancy:
    """Compare finite rows reference (n, d) and current (m, d), n, m >= 2.

    `blocks` (n,), (m,) numbers the ticks of rows: the p-value then permutes whole ticks, which
    holds when rows of a tick are alike. Deterministic for a seed.
    """
    rng = np.random.default_rng(seed)
    both = _features(np.concatenate([reference, current]), len(reference), rng)
    n, m = len(reference), len(current)
    mean_x = both[:n].mean(axis=0, dtype=np.float64)
    mean_y = both[n:].mean(axis=0, dtype=np.float64)
    spread_x = max(0.0, float(np.square(both[:n]).sum(dtype=np.float64)) / n - mean_x @ mean_x)
    spread_y = max(0.0, float(np.square(both[n:]).sum(dtype=np.float64)) / m - mean_y @ mean_y)
    gap = mean_x - mean_y
    squared = float(gap @ gap) - spread_x / (n - 1) - spread_y / (m - 1)
    witness = both @ gap.astype(np.float32)
    error = 2 * math.sqrt(float(witness[:n].var()) / n + float(witness[n:].var()) / m)
    spread = (n * spread_x + m * spread_y) / (n + m)

    def effect(value: float) -> float:
        return math.sqrt(max(value, 0.0) / spread) if spread > 0 else 0.0

    return Discrepancy(
        squared=float(squared),
        effect=effect(squared),
        effect_ci=(effect(squared - Z_95 * error), effect(squared + Z_95 * error)),
        p_value=_p_value(both, n, blocks, permutations, rng),
    )


def _features(rows: Matrix, of_reference: int, rng: np.random.Generator) -> Matrix:
    """Random Fourier features (n, FEATURES) whose inner product is the mean of three kernels."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    centre = rows[:of_reference].mean(axis=0)
    width = _median_distance(rows[:of_reference], rng)
    return _mapped(rows - centre, width, FEATURES, rng)


def bandwidth_of(reference: Matrix | None, *, seed: int = 0) -> float:
    """The median distance of pairs of reference rows (n, d)."""
    assert reference is not None
    return _median_distance(reference, np.random.default_rng(seed))


def features(
    rows: Matrix | None, centre: FloatArray, bandwidth: float, count: int, *, seed: int = 0
) -> Matrix:
    """Features (n, count) of rows (n, d) by a map that the seed draws, the same for ever."""
    assert rows is not None
    rng = np.random.default_rng(seed)
    return _mapped(rows - centre.astype(np.float32), bandwidth, count, rng)


def _mapped(apart: Matrix, width: float, count: int, rng: np.random.Generator) -> Matrix:
    share = np.array_split(np.arange(count), len(SCALES))
    columns = []
    for scale, block in zip(SCALES, share, strict=True):
        drawn = rng.standard_normal((apart.shape[1], len(block))) / (width * scale)
        columns.append(drawn.astype(np.float32))
    features: Matrix = apart @ np.concatenate(columns, axis=1)
    features += rng.uniform(0, 2 * math.pi, count).astype(np.float32)
    np.cos(features, out=features)
    features *= np.float32(math.sqrt(2 / count))
    return features


def _median_distance(rows: Matrix, rng: np.random.Generator) -> float:
    """The median distance of pairs of at most 500 rows, or one where all rows are alike."""
    taken = rows[rng.permutation(len(rows))[:MEDIAN_ROWS]].astype(np.float64)
    square = np.square(taken).sum(axis=1)
    squared = square[:, None] + square[None, :] - 2 * taken @ taken.T
    distance = np.sqrt(np.maximum(squared[np.triu_indices(len(taken), 1)], 0.0))
    middle = float(np.median(distance)) if len(distance) else 0.0
    if middle <= 1e-12 * math.sqrt(float(square.max(initial=0.0))):
        middle = float(distance.mean()) if len(distance) else 0.0
    return middle if middle > 0 else 1.0


def _p_value(
    features: Matrix,
    n: int,
    blocks: tuple[IntArray, IntArray] | None,
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """Share of relabelled samples whose means are at least as far apart."""
    if blocks is None:
        sums, sizes = features, np.ones(len(features))
        in_reference = n
    else:
        sums, sizes, in_reference = _block_sums(features, n, blocks)
    total, rows = sums.sum(axis=0, dtype=np.float64), float(sizes.sum())
    chosen = np.zeros((permutations + 1, len(sums)), np.float32)
    chosen[0, :in_reference] = 1.0
    for draw in range(1, permutations + 1):
        chosen[draw, rng.permutation(len(sums))[:in_reference]] = 1.0
    held = chosen @ sizes.astype(np.float32)
    sums_in = (chosen @ sums).astype(np.float64)
    gap = sums_in / held[:, None] - (total - sums_in) / (rows - held)[:, None]
    far = np.square(gap).sum(axis=1)
    return float(np.sum(far >= far[0] * (1 - 1e-6) - ROUNDING) / (permutations + 1))


def _block_sums(
    features: Matrix, n: int, blocks: tuple[IntArray, IntArray]
) -> tuple[Matrix, FloatArray, int]:
    """Feature sums (blocks, FEATURES) and rows of each tick, those of the reference first."""
    before, at_before = np.unique(blocks[0], return_inverse=True)
    after, at_after = np.unique(blocks[1], return_inverse=True)
    places = np.concatenate([at_before, at_after + len(before)])
    sizes = np.bincount(places, minlength=len(before) + len(after)).astype(float)
    order = np.argsort(places, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    sums = np.add.reduceat(features[order], starts, axis=0)
    return sums, sizes, len(before)
