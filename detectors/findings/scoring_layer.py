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


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What the reference's scores let expect: of its own odd rows (n // 2,), of current rows (m,).

    `held_back` are the scores that those odd rows have; `spread` is their sd in the reference.
    """

    held_back: FloatArray
    of_held_back: FloatArray
    of_current: FloatArray
    spread: float


def expected_scores(X: FloatArray, score_ref: FloatArray, *, seed: int) -> Expected | None:
    """Learn score given x from every other reference row; None where nothing can be learnt.

    X (n + m, p) holds reference rows, then current rows, as `two_sample.encode` gives them;
    scores (n,) are log odds for probabilities, plain values for regression.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    n = len(score_ref)
    spread = float(np.std(score_ref))
    if not X.shape[1] or n < 100 or len(X) == n or spread <= 0:
        return None
    with one_thread():
        learner = HistGradientBoostingRegressor(
            max_iter=60, max_leaf_nodes=31, early_stopping=False, random_state=seed
        ).fit(X[:n:2], score_ref[::2])
        found = Expected(score_ref[1::2], learner.predict(X[1:n:2]), learner.predict(X[n:]), spread)
    explained = 1.0 - float(np.var(found.held_back - found.of_held_back)) / spread**2
    return found if explained >= LEAST_EXPLAINED else None


def score_given_inputs(expected: Expected | None, score_cur: FloatArray) -> ScoringLayer:
    """Compare current scores (m,) with those the reference gave to like inputs.

    NaN scores are left out.
    """
    known = np.isfinite(score_cur)
    if expected is None or not known.any():
        return ScoringLayer(float("nan"), float("nan"))
    now, of_now = score_cur[known], expected.of_current[known]
    before = expected.held_back - expected.of_held_back
    shift = float((now - of_now).mean() - before.mean()) / expected.spread
    was = _slope(expected.of_held_back, expected.held_back)
    slope = _slope(of_now, now)
    return ScoringLayer(shift, slope / was if was > 0.05 else float("nan"))


def _slope(x: FloatArray, y: FloatArray) -> float:
    """Least-squares slope of y on x; NaN where x does not vary."""
    centred = x - x.mean()
    square = float(centred @ centred)
    return float(centred @ y / square) if square > 1e-12 * len(x) else float("nan")
