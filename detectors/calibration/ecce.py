"""Cumulative calibration error: the furthest the running surplus of labels strays, no bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray

MAD_LIMIT = 2.2414
"""95 % point of the largest |W| of a Brownian motion on [0, 1]."""
RANGE_LIMIT = 2.4977
"""95 % point of its range."""


@dataclass(frozen=True, slots=True)
class Ecce:
    """`mad` is the largest |surplus|, `range` its largest minus smallest, both per row.

    The normalised forms divide by `sigma`, the sd of the whole surplus if the scores are right;
    None where the scores allow no surplus at all.
    """

    mad: float
    range: float
    sigma: float
    mad_normalised: float | None
    range_normalised: float | None


def ecce(p: FloatArray, y: FloatArray, weight: FloatArray | None = None) -> Ecce | None:
    """Sort by score, add up label minus score, look how far the sum goes; None without rows.

    Rows of one score enter together. After Arrieta-Ibarra, Gujral, Tannen, Tygert and Xu (2022).
    """
    if not len(p):
        return None
    ones = np.ones(len(p)) if weight is None else weight
    order = np.argsort(p, kind="stable")
    p, y, ones = p[order], y[order], ones[order]
    total = float(ones.sum())
    surplus = np.cumsum(ones * (y - p)) / total
    ends = np.append(p[1:] != p[:-1], True)
    path = np.append(0.0, surplus[ends])
    mad, span = float(np.abs(path).max()), float(np.ptp(path))
    sigma = float(np.sqrt(ones**2 @ (p * (1.0 - p)))) / total
    known = sigma > 1e-12
    return Ecce(mad, span, sigma, mad / sigma if known else None, span / sigma if known else None)


def largest_walk_p(mad_normalised: float) -> float:
    """P(sup |W| >= x) of a Brownian motion W on [0, 1]: the p-value of the normalised MAD.

    After the reflection principle (Feller 1971); .05 at 2.2414.
    """
    if mad_normalised <= 0.0:
        return 1.0
    odd = 2.0 * np.arange(50) + 1.0
    signs = np.where(np.arange(50) % 2 == 0, 1.0, -1.0)
    inside = 4.0 / np.pi * (signs / odd) @ np.exp(-((odd * np.pi / mad_normalised) ** 2) / 8.0)
    return float(np.clip(1.0 - inside, 0.0, 1.0))
