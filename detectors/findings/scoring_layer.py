"""Does the model still give the same score to the same inputs?

A learner of score given x is fitted on every other reference row. If inputs did not move but
current scores leave what it predicts, the change sits between the model and its output:
a temperature, a recalibration step, another release.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.findings.threads import one_thread
from detectors.records import FloatArray

LEAST_EXPLAINED = 0.5
"""Share of the held-back scores' variance; below it the inputs are not what the model saw."""


@dataclass(frozen=True, slots=True)
class ScoringLayer:
    """`shift` in reference sd of the score, `slope` against the reference slope (1 = same).

    NaN where the score does not vary or does not depend on the inputs.
    """

    shift: float
    slope: float


def score_given_inputs(
    X: FloatArray, score_ref: FloatArray, score_cur: FloatArray, *, seed: int
) -> ScoringLayer:
    """Compare scores with those the reference gave to like inputs.

    X (n + m, p) holds reference rows, then current rows, as `two_sample.encode` gives them;
    scores (n,) and (m,) are log odds for probabilities, plain values for regression.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    n = len(score_ref)
    spread = float(np.std(score_ref))
    if not X.shape[1] or n < 100 or not len(score_cur) or spread <= 0:
        return ScoringLayer(float("nan"), float("nan"))
    with one_thread():
        learner = HistGradientBoostingRegressor(
            max_iter=60, max_leaf_nodes=31, early_stopping=False, random_state=seed
        ).fit(X[:n:2], score_ref[::2])
        held_back, expected = learner.predict(X[1:n:2]), learner.predict(X[n:])
    explained = 1.0 - float(np.var(score_ref[1::2] - held_back)) / spread**2
    if explained < LEAST_EXPLAINED:
        return ScoringLayer(float("nan"), float("nan"))
    shift = float((score_cur - expected).mean() - (score_ref[1::2] - held_back).mean()) / spread
    before, now = _slope(held_back, score_ref[1::2]), _slope(expected, score_cur)
    return ScoringLayer(shift, now / before if before > 0.05 else float("nan"))


def _slope(x: FloatArray, y: FloatArray) -> float:
    """Least-squares slope of y on x; NaN where x does not vary."""
    centred = x - x.mean()
    square = float(centred @ centred)
    return float(centred @ y / square) if square > 1e-12 * len(x) else float("nan")
