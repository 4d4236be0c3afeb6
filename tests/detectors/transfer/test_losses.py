from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_pinball_loss

from detectors.records import Task
from detectors.transfer.losses import (
    absolute,
    brier,
    losses_for,
    multiclass_brier,
    multiclass_log_loss,
    pinball,
)

LABEL = np.array([1.0, 0.0, 1.0, np.nan])
SCORE = np.array([0.8, 0.3, 0.4, 0.5])


def test_brier_is_the_squared_distance_to_the_outcome() -> None:
    assert brier(SCORE, LABEL)[:3] == pytest.approx([0.04, 0.09, 0.36])
    assert np.isnan(brier(SCORE, LABEL)[3])


def test_pinball_agrees_with_scikit_learn_and_is_half_the_absolute_error_at_the_median() -> None:
    rng = np.random.default_rng(1)
    label, score = rng.normal(size=200), rng.normal(size=200)
    for quantile in (0.1, 0.5, 0.9):
        found = pinball(score, label, quantile).mean()
        assert found == pytest.approx(mean_pinball_loss(label, score, alpha=quantile))
    assert pinball(score, label, 0.5) == pytest.approx(absolute(score, label) / 2)


def test_a_quantile_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        pinball(SCORE, LABEL, 1.0)


def test_pinball_is_least_at_its_quantile() -> None:
    label = np.random.default_rng(2).exponential(size=4_000)
    tried = np.quantile(label, [0.7, 0.8, 0.9, 0.95])
    means = [pinball(np.full(4_000, at), label, 0.9).mean() for at in tried]
    assert int(np.argmin(means)) == 2


def test_multiclass_log_loss_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet([3.0, 3.0, 3.0], 300)
    p = np.clip(p, 0.01, None)
    p /= p.sum(axis=1, keepdims=True)
    classes = rng.integers(0, 3, 300)
    found = multiclass_log_loss(p, classes).mean()
    assert found == pytest.approx(log_loss(classes, p, labels=[0, 1, 2]), rel=1e-2)


def test_multiclass_brier_is_the_sum_over_classes() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    found = multiclass_brier(p, np.array([0, 2, -1]))
    assert found[:2] == pytest.approx([0.09 + 0.04 + 0.01, 0.04 + 0.25 + 0.49])
    assert np.isnan(found[2])


def test_with_two_classes_both_multiclass_losses_are_the_binary_ones() -> None:
    p = np.array([0.2, 0.7, 0.95])
    y = np.array([0, 1, 1])
    table = np.column_stack([1 - p, p])
    assert multiclass_brier(table, y) == pytest.approx(2 * brier(p, y.astype(float)))
    primary = losses_for(Task.BINARY)["log loss"]
    assert multiclass_log_loss(table, y) == pytest.approx(primary(p, y.astype(float)))


def test_every_task_has_the_loss_of_the_verdict_first() -> None:
    assert [next(iter(losses_for(task))) for task in Task] == [
        "log loss",
        "top-label log loss",
        "squared error",
    ]
