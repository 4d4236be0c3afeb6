"""Regularised learning under label shift: weights that stay near one where data are poor.

Azizzadenesheli, Liu, Yang and Anandkumar (2019): w = 1 + θ, θ minimising
‖C θ - (μ - C 1)‖ + Δ ‖θ‖, Δ the sampling error of C. Used where C is nearly singular.
"""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray

NEARLY_SINGULAR = 0.1
"""Below this smallest singular value of C, weights solved for are mostly noise."""
CONFIDENCE = 0.05
RIDGES = np.logspace(-10, 6, 400)


def is_nearly_singular(joint: FloatArray) -> bool:
    """Whether weights should be regularised rather than solved for.

    The smallest singular value of a perfect confusion of k equal classes is 1 / k, so the limit
    for two classes is scaled by 2 / k.
    """
    limit = NEARLY_SINGULAR * 2.0 / len(joint)
    return float(np.linalg.svd(joint, compute_uv=False)[-1]) < limit


def sampling_error(rows: float, classes: int = 2) -> float:
    """Δ for a confusion of so many effective rows, at 95 % confidence (their lemma 1)."""
    term = np.log(2 * classes / CONFIDENCE)
    return float(2 * term / (3 * rows) + np.sqrt(2 * term / rows))


def rlls_weights(joint: FloatArray, said: FloatArray, *, rows: float) -> FloatArray:
    """How much likelier each class is (c,), drawn to 1; `rows` are the reference's effective rows.

    The minimum of a sum of two norms lies on the path of ridge solutions, or at θ = 0, so that
    path is searched.
    """
    error = sampling_error(rows, len(joint))
    gap = said - joint.sum(axis=1)
    gram, target = joint.T @ joint, joint.T @ gap
    stacked = gram[None] + RIDGES[:, None, None] * np.eye(len(joint))[None]
    solved = np.linalg.solve(stacked, np.broadcast_to(target, (len(RIDGES), len(gap)))[..., None])
    path = np.vstack([solved[..., 0], np.zeros(len(gap))])
    cost = np.linalg.norm(path @ joint.T - gap, axis=1) + error * np.linalg.norm(path, axis=1)
    weights: FloatArray = np.maximum(1.0 + path[int(np.argmin(cost))], 0.0)
    return weights
