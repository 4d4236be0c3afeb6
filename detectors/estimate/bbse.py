"""Black-box shift estimation: the label rate from hard predictions (Lipton, Wang, Smola 2018).

If P(x | y) has held, the mix of predictions is the reference's confusion times the new mix of
labels; solving for it gives weights for each class, whatever the model is.
"""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray


def joint_confusion(said: FloatArray, label: FloatArray, weight: FloatArray) -> FloatArray:
    """P(said, label) of a reference as (2, 2): rows are predictions, columns labels, 0 first."""
    joint = np.zeros((2, 2))
    np.add.at(joint, (said.astype(np.int64), label.astype(np.int64)), weight)
    shares: FloatArray = joint / joint.sum()
    return shares


def said_shares(said: FloatArray, weight: FloatArray) -> FloatArray:
    """Shares (2,) of current rows predicted 0 and 1."""
    one = float(weight @ said) / float(weight.sum())
    return np.array([1.0 - one, one])


def bbse_weights(joint: FloatArray, said: FloatArray) -> FloatArray:
    """How much likelier each class is than in the reference (c,): solves joint @ w = said.

    Negative weights become 0. NaN where the predictions tell nothing of the label.
    """
    if np.linalg.matrix_rank(joint) < len(joint):
        return np.full(len(joint), np.nan)
    weights: FloatArray = np.maximum(np.linalg.solve(joint, said), 0.0)
    return weights


def class_priors(joint: FloatArray, weights: FloatArray) -> FloatArray:
    """The mix of labels (c,) that weights (c,) stand for."""
    mass = joint.sum(axis=0) * weights
    shares: FloatArray = mass / mass.sum()
    return shares


def shifted_accuracy(joint: FloatArray, weights: FloatArray) -> float:
    """Accuracy of the same predictions when each class is so much likelier."""
    mass = float((joint.sum(axis=0) * weights).sum())
    return float((np.diag(joint) * weights).sum()) / mass
