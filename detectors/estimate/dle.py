"""Direct loss estimation: a model of the loss, learnt on the reference, averaged now (NannyML).

It needs no probabilities, so it serves regression too. The learner never sees the rows it speaks
of: reference rows are predicted out of fold, and what it misses there on average is added back.
"""

from __future__ import annotations

import numpy as np

from detectors.estimate.records import Estimate, day_blocks, interval, resampled_rows
from detectors.findings.threads import one_thread
from detectors.findings.two_sample import FOLDS, encode
from detectors.records import FloatArray, Schema, Task, Window
from detectors.transfer.loss import LOSS_NAME, loss_of

METHOD = "DLE"
FEWEST_ROWS = 200
METRIC = {Task.REGRESSION: "squared_error"}


def estimate_loss(
    reference: Window,
    current: Window,
    schema: Schema,
    *,
    seed: int = 0,
    replicates: int = 200,
) -> tuple[Estimate, ...]:
    """Estimated mean loss of the current window with a 95 % interval, days or rows resampled.

    Empty with fewer than 200 labelled reference rows or without scores.
    """
    if reference.score is None or reference.label is None or current.score is None:
        return ()
    if not current.rows:
        return ()
    loss = loss_of(schema.task, reference.score, reference.label)
    known = np.flatnonzero(np.isfinite(loss))
    seen = np.isfinite(current.score)
    if len(known) < FEWEST_ROWS or not seen.any():
        return ()
    past, now = reference.take(known), current.take(seen)
    told, missed = _predicted(past, now, schema, loss[known], seed)
    past_weight, now_weight = past.weights(), now.weights()
    value = _mean(told, now_weight) + _mean(missed, past_weight)
    rng = np.random.default_rng(seed)
    now_days = day_blocks(now, np.arange(now.rows))
    past_days = day_blocks(past, np.arange(past.rows))
    draws = np.array(
        [
            _mean(told, now_weight * resampled_rows(now.rows, now_days, rng))
            + _mean(missed, past_weight * resampled_rows(past.rows, past_days, rng))
            for _ in range(replicates)
        ]
    )
    ci = interval(draws, value)
    name = LOSS_NAME[schema.task]
    between = "" if ci[0] is None or ci[1] is None else f" ({ci[0]:.3g} to {ci[1]:.3g})"
    words = f"{name} estimated at {value:.3g}{between} by a model of the loss"
    metric = METRIC.get(schema.task, "log_loss")
    return (Estimate(metric, value, ci, METHOD, None, words),)


def _predicted(
    past: Window, now: Window, schema: Schema, loss: FloatArray, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Predicted loss of current rows (m,), and what reference rows (n,) lost beyond theirs."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold

    assert past.score is not None
    assert now.score is not None
    columns, categorical = encode(past, now, schema)
    score = np.concatenate([past.score, now.score])
    X = np.column_stack([columns, score])
    categorical = np.append(categorical, False)
    n = past.rows
    out_of_fold = np.empty(n)
    told = np.zeros(now.rows)
    with one_thread():
        for train, test in KFold(FOLDS, shuffle=True, random_state=seed).split(X[:n]):
            learner = HistGradientBoostingRegressor(
                max_iter=50,
                learning_rate=0.12,
                max_leaf_nodes=15,
                min_samples_leaf=40,
                l2_regularization=5.0,
                categorical_features=categorical,
                early_stopping=False,
                random_state=seed,
            ).fit(X[train], loss[train], sample_weight=past.weights()[train])
            out_of_fold[test] = learner.predict(X[test])
            told += learner.predict(X[n:]) / FOLDS
    return told, loss - out_of_fold


def _mean(values: FloatArray, weight: FloatArray) -> float:
    return float(weight @ values) / float(weight.sum())
