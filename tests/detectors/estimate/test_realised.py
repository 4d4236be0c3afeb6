from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from detectors.estimate.realised import auc, realised_performance
from detectors.records import Task, Window


def drawn(n: int = 400, seed: int = 0) -> Window:
    rng = np.random.default_rng(seed)
    p = np.round(rng.random(n), 2)
    return Window(
        rows=n,
        score=p,
        label=(rng.random(n) < p).astype(np.float64),
        weight=rng.uniform(0.5, 3.0, n),
    )


def test_every_metric_agrees_with_scikit_learn_weights_and_ties_included() -> None:
    window = drawn()
    p, y, w = window.score, window.label, window.weight
    assert p is not None
    found = realised_performance(window, Task.BINARY)
    said = p >= 0.5
    assert found["log_loss"] == pytest.approx(
        metrics.log_loss(y, np.clip(p, 0.01, 0.99), sample_weight=w)
    )
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(y, p, sample_weight=w))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, said, sample_weight=w))
    assert found["f1"] == pytest.approx(metrics.f1_score(y, said, sample_weight=w))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(y, p, sample_weight=w))


def test_regression_and_multiclass_have_their_own_metrics() -> None:
    window = drawn()
    p, y, w = window.score, window.label, window.weight
    found = realised_performance(window, Task.REGRESSION)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, p, sample_weight=w))
    rmse = metrics.root_mean_squared_error(y, p, sample_weight=w)
    assert found["rmse"] == pytest.approx(rmse)
    top = realised_performance(window, Task.MULTICLASS)
    assert top["accuracy"] == pytest.approx(np.average(np.asarray(y), weights=w))


def test_what_does_not_exist_is_none_or_absent() -> None:
    ones = Window(rows=5, score=np.full(5, 0.2), label=np.ones(5))
    found = realised_performance(ones, Task.BINARY)
    assert found["auc"] is None
    assert found["f1"] == 0.0
    zeros = Window(rows=5, score=np.full(5, 0.2), label=np.zeros(5))
    assert realised_performance(zeros, Task.BINARY)["f1"] is None
    for task in Task:
        assert realised_performance(Window(rows=3), task) == {}
        assert realised_performance(drawn(0), task) == {}
        nothing = Window(rows=2, score=np.full(2, 0.5), label=np.full(2, np.nan))
        assert realised_performance(nothing, task) == {}
    assert auc(np.empty(0), np.empty(0), np.empty(0)) is None
