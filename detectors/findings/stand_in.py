"""A stand-in for the served score that no fault of the model, its inputs or its scale can touch.

Trees fitted on the reference's labels, without the columns that a check found at fault. What they
say of the current rows tells whether inputs or labels changed, whatever happened to the score.
"""

from __future__ import annotations

import numpy as np

from detectors.findings.threads import one_thread
from detectors.records import BoolArray, FloatArray, Task

FOLDS = 2
CLIP = 1e-4


def stand_in_score(
    X: FloatArray, categorical: BoolArray, label: FloatArray, *, task: Task, seed: int
) -> FloatArray | None:
    """Scores (n + m,): P(label = 1), or the label's mean, of reference rows and current rows.

    X (n + m, p) as `two_sample.encode` gives it, label (n,) of the reference. Reference rows are
    scored by trees that have not seen them, current rows by the mean of both. None where there
    is nothing to learn from, or the task has more than two classes.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    n = len(label)
    if task is Task.MULTICLASS or not X.shape[1] or n < 4 * FOLDS:
        return None
    fold = np.random.default_rng(seed).permutation(n) % FOLDS
    said = np.zeros(len(X))
    for held in range(FOLDS):
        train = np.flatnonzero(fold != held)
        if np.ptp(label[train]) == 0:
            return None
        kind = (
            HistGradientBoostingRegressor
            if task is Task.REGRESSION
            else HistGradientBoostingClassifier
        )
        with one_thread():
            learner = kind(
                max_iter=40,
                learning_rate=0.12,
                max_leaf_nodes=15,
                min_samples_leaf=40,
                l2_regularization=5.0,
                categorical_features=categorical,
                early_stopping=False,
                random_state=seed,
            ).fit(X[train], label[train])
            at = np.concatenate([np.flatnonzero(fold == held), np.arange(n, len(X))])
            told = (
                learner.predict(X[at])
                if task is Task.REGRESSION
                else learner.predict_proba(X[at])[:, 1]
            )
        said[at] += told / np.where(at < n, 1, FOLDS)
    return said if task is Task.REGRESSION else np.clip(said, CLIP, 1 - CLIP)
