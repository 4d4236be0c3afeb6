"""One pass over two sorted samples: Kolmogorov-Smirnov distance and Wasserstein distance at once.

Both are functionals of the two distribution functions, so a single merge of the sorted values
gives them exactly, with the terms for the standard error of the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.kernels import njit
from detectors.records import FloatArray


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one merge of two samples says; distances along x are divided by `scale`.

    `ks` is sup|F - G|, `wasserstein` the area between F and G, `variances` the variance over the
    rows of either sample of the Kantorovich potential, from which the standard error of the
    Wasserstein distance follows (del Barrio, Gordaliza and Loubes 2019).
    """

    ks: float
    wasserstein: float
    variances: tuple[float, float]


@njit(cache=True, nogil=True)
def _merge(
    a: FloatArray, weight_a: FloatArray, b: FloatArray, weight_b: FloatArray, scale: float
) -> tuple[float, float, float, float]:
    total_a, total_b = weight_a.sum(), weight_b.sum()
    share_a, share_b, unit = 1.0 / total_a, 1.0 / total_b, 1.0 / scale
    below_a = below_b = 0.0
    largest = area = potential = gap = 0.0
    sum_a = square_a = sum_b = square_b = 0.0
    i = j = 0
    rows_a, rows_b = len(a), len(b)
    at = min(a[0], b[0])
    while i < rows_a or j < rows_b:
        here = b[j] if i >= rows_a or (j < rows_b and b[j] < a[i]) else a[i]
        step = (here - at) * unit
        if gap > 0.0:
            area += gap * step
            potential += step
        elif gap < 0.0:
            area -= gap * step
            potential -= step
        before_a, before_b = below_a, below_b
        while i < rows_a and a[i] == here:
            below_a += weight_a[i]
            i += 1
        while j < rows_b and b[j] == here:
            below_b += weight_b[j]
            j += 1
        sum_a += (below_a - before_a) * potential
        square_a += (below_a - before_a) * potential * potential
        sum_b += (below_b - before_b) * potential
        square_b += (below_b - before_b) * potential * potential
        gap = below_a * share_a - below_b * share_b
        largest = max(largest, abs(gap))
        at = here
    mean_a, mean_b = sum_a / total_a, sum_b / total_b
    return (
        largest,
        area,
        max(square_a / total_a - mean_a * mean_a, 0.0),
        max(square_b / total_b - mean_b * mean_b, 0.0),
    )


def sweep(
    a: FloatArray,
    b: FloatArray,
    *,
    weight_a: FloatArray | None = None,
    weight_b: FloatArray | None = None,
    scale: float = 1.0,
) -> Sweep:
    """Merge a (n,) and b (m,), both sorted ascending, finite and not empty.

    Weights (n,), (m,) follow the sorted order; None counts every row once.
    """
    largest, area, variance_a, variance_b = _merge(
        a,
        _ones(len(a)) if weight_a is None else weight_a,
        b,
        _ones(len(b)) if weight_b is None else weight_b,
        scale,
    )
    return Sweep(largest, area, (variance_a, variance_b))


def _ones(rows: int) -> FloatArray:
    """A view of a single 1.0, so that equal weights cost no memory."""
    return np.broadcast_to(np.float64(1.0), rows)
