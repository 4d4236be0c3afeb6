"""Is the information still there, and does the head in service still fit it?

A new embedding can look unlike the old one and serve as well, or look alike and have lost what
matters, so a similarity alone decides nothing. First the information gap: does a head fitted anew
on the new embedding lose against one on the old? Then the head gap: does the head in service lose
against one fitted anew on what is served now?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray

FOLDS = 5
RIDGE = 1.0
GAP = 0.02
"""A gap of log loss is worth a word from 2 % of the loss it is held against."""

FEWEST = 100
FEWEST_OF_A_CLASS = 20
CLIP = 1e-4
Z = 1.96


@dataclass(frozen=True, slots=True)
class Gap:
    """Mean paired difference of log losses with its .95 interval, and the loss it is a share of."""

    difference: float
    ci: tuple[float, float]
    against: float

    @property
    def matters(self) -> bool:
        """Above zero beyond doubt, and more than 2 % of the loss."""
        return self.ci[0] > 0 and self.difference > GAP * self.against


def refit_loss(embedding: FloatArray, label: FloatArray, *, seed: int = 0) -> FloatArray:
    """Log loss (n,) of a ridge logistic head fitted anew, each row by a head that has not seen it.

    embedding (n, d), label (n,) of 0 and 1. Needs 100 rows and 20 of each class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    rarer = int(min((label == 0).sum(), (label == 1).sum()))
    if len(label) < FEWEST or rarer < FEWEST_OF_A_CLASS:
        msg = (
            f"{len(label)} labelled rows, {rarer} of the rarer class; a head needs {FEWEST} and "
            f"{FEWEST_OF_A_CLASS}"
        )
        raise ValueError(msg)
    spread = embedding.std(axis=0)
    X = (embedding - embedding.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    p = np.empty(len(label))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(X, label):
        head = LogisticRegression(C=1 / (RIDGE * X.shape[1]), max_iter=500)
        p[test] = head.fit(X[train], label[train]).predict_proba(X[test])[:, 1]
    return log_loss(p, label)


def log_loss(p: FloatArray, label: FloatArray) -> FloatArray:
    """Log loss (n,) of probabilities kept away from 0 and 1 by 1e-4."""
    p = np.clip(p, CLIP, 1 - CLIP)
    loss: FloatArray = -np.where(label == 1, np.log(p), np.log1p(-p))
    return loss


def information_gap(before: FloatArray, now: FloatArray, label: FloatArray) -> Gap:
    """What a head fitted anew loses on `now` (n, d) against one on `before` (n, d')."""
    return _gap(refit_loss(now, label), refit_loss(before, label))


def head_gap(score: FloatArray, embedding: FloatArray, label: FloatArray) -> Gap:
    """What the scores in service (n,) lose against a head fitted anew on the embedding served."""
    return _gap(log_loss(score, label), refit_loss(embedding, label))


def _gap(worse: FloatArray, against: FloatArray) -> Gap:
    paired = worse - against
    middle = float(paired.mean())
    error = float(paired.std(ddof=1) / np.sqrt(len(paired)))
    return Gap(middle, (middle - Z * error, middle + Z * error), float(against.mean()))
