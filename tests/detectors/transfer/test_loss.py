from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from detectors.records import HOUR_US, Task, Window
from detectors.transfer.loss import LOSS_NAME, expected_loss, loss_of
from detectors.transfer.sums import concat_sums, minority_mask, paired_rows, sums_of


def test_log_loss_agrees_with_scikit_learn_after_clipping() -> None:
    rng = np.random.default_rng(0)
    p, y = np.concatenate([[0.0, 1.0], rng.random(50)]), rng.integers(0, 2, 52).astype(float)
    expected = log_loss(y, np.clip(p, 0.01, 0.99))
    assert loss_of(Task.BINARY, p, y).mean() == pytest.approx(expected)
    assert loss_of(Task.MULTICLASS, p, y).mean() == pytest.approx(expected)


def test_regression_is_squared_error_and_missing_stays_missing() -> None:
    loss = loss_of(Task.REGRESSION, np.array([1.0, np.nan, 3.0]), np.array([4.0, 1.0, np.nan]))
    assert loss[0] == 9.0
    assert np.isnan(loss[1:]).all()
    assert set(LOSS_NAME) == set(Task)


def test_an_expected_loss_is_that_of_both_labels_by_their_chances() -> None:
    score, p = np.array([0.0, 0.2, 0.7]), np.array([0.1, 0.4, 0.7])
    one, zero = (loss_of(Task.BINARY, score, np.full(3, label)) for label in (1.0, 0.0))
    assert expected_loss(score, p) == pytest.approx(p * one + (1 - p) * zero)


def test_sums_agree_with_sums_by_hand_and_ignore_incomplete_rows() -> None:
    window = Window(
        rows=5,
        ts_us=np.array([0, 1, HOUR_US, HOUR_US + 5, 3 * HOUR_US], dtype=np.int64),
        score=np.array([1.0, 2.0, 3.0, np.nan, 5.0]),
        baseline_score=np.array([0.0, 2.0, 1.0, 1.0, 5.0]),
        label=np.array([1.0, 4.0, 0.0, 0.0, np.nan]),
        weight=np.array([1.0, 2.0, 4.0, 1.0, 1.0]),
    )
    sums = sums_of(window, task=Task.REGRESSION, tick_us=HOUR_US)
    assert sums is not None
    assert sums.start_us.tolist() == [0, HOUR_US]
    assert sums.rows.tolist() == [3, 4]
    assert sums.difference.tolist() == [1 * (0 - 1) + 2 * (4 - 4), 4 * (9 - 1)]
    assert sums.difference2.tolist() == [1, 4 * 64]
    assert sums.baseline_loss.tolist() == [1 * 1 + 2 * 4, 4]
    assert sums.minority.tolist() == [0, 0]
    both = concat_sums([sums.take(slice(0, 1)), sums.take(slice(1, 2))])
    assert both.difference.tolist() == sums.difference.tolist()
    assert sums.grouped(np.array([0])).rows.tolist() == [7]


def test_the_rarer_class_is_found_on_either_side() -> None:
    ones = np.ones(4)
    assert minority_mask(np.array([1.0, 1, 1, 0]), ones, task=Task.BINARY).sum() == 1
    assert minority_mask(np.array([0.0, 0, 0, 1]), ones, task=Task.BINARY).sum() == 1
    assert minority_mask(np.array([1.0, 1, 1, 1]), ones, task=Task.BINARY).sum() == 0


def test_no_baseline_is_told_apart_from_no_labels() -> None:
    bare = Window(rows=2, ts_us=np.zeros(2, np.int64), score=np.array([0.1, 0.2]))
    assert paired_rows(bare, task=Task.BINARY) is None
    unlabelled = Window(
        rows=2,
        ts_us=np.zeros(2, np.int64),
        score=np.array([0.1, 0.2]),
        baseline_score=np.array([0.3, 0.4]),
        label=np.array([np.nan, np.nan]),
    )
    sums = sums_of(unlabelled, task=Task.BINARY)
    assert sums is not None
    assert len(sums.rows) == 0
