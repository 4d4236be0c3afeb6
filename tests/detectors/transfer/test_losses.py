from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_pinball_loss, roc_auc_score

from detectors.records import BaselinePlan, Schema, Settings, Task, Window
from detectors.transfer.auc import Ranks, compare_auc
from detectors.transfer.class_losses import multiclass_brier, multiclass_log_loss
from detectors.transfer.designs import with_contrast
from detectors.transfer.losses import absolute, brier, chosen_loss, losses_for, pinball
from detectors.transfer.single_look import single_look_verdict
from detectors.transfer.sums import sums_of
from detectors.transfer.verdict import transfer_verdict

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
    assert found == pytest.approx(log_loss(classes, p, labels=[0, 1, 2]))


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


def judged(seed: int, rows: int = 4_000) -> Window:
    """Two scores of one outcome, the second noisier; four hundred rows a day."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1.0, 1.2, rows)
    served, scratch = (logit + rng.normal(0.0, noise, rows) for noise in (0.3, 1.0))
    return Window(
        rows=rows,
        ts_us=np.arange(rows, dtype=np.int64) // 400 * 86_400_000_000,
        score=1.0 / (1.0 + np.exp(-served)),
        baseline_score=1.0 / (1.0 + np.exp(-scratch)),
        label=(rng.random(rows) < 1.0 / (1.0 + np.exp(-logit))).astype(float),
    )


def test_the_mean_of_ranked_losses_of_the_reference_itself_is_one_less_the_auc() -> None:
    window = judged(1)
    assert window.score is not None
    assert window.label is not None
    ranks = Ranks.of(window.score, window.label)
    assert ranks is not None
    mean = ranks.losses(window.score, window.label).mean()
    assert 1.0 - mean == pytest.approx(roc_auc_score(window.label, window.score))


@pytest.mark.parametrize("loss", ["brier", "auc"])
def test_a_chosen_loss_is_what_the_verdict_over_time_is_a_difference_of(loss: str) -> None:
    """By definition for Brier; for the AUC by that of the same rows with scikit-learn."""
    reference, live = judged(2), judged(3)
    settings = Settings(loss=loss)
    chosen = chosen_loss(Schema(Task.BINARY, ()), settings, reference)
    made = with_contrast(live, BaselinePlan(), task=Task.BINARY, centre=0.0, loss=chosen)
    sums = sums_of(made, task=Task.BINARY)
    verdict = transfer_verdict(sums, task=Task.BINARY, settings=settings, ended=True)
    assert live.score is not None
    assert live.baseline_score is not None
    assert live.label is not None
    assert verdict.difference is not None
    if loss == "brier":
        apart = (live.score - live.label) ** 2 - (live.baseline_score - live.label) ** 2
        assert verdict.difference == pytest.approx(apart.mean())
        assert verdict.loss == "Brier score"
    else:
        aucs = [roc_auc_score(live.label, s) for s in (live.score, live.baseline_score)]
        assert verdict.difference == pytest.approx(aucs[1] - aucs[0], abs=0.01)
        assert verdict.loss == "1 - AUC"
    assert verdict.state.value == "helps"


def test_a_table_looked_at_once_is_compared_by_delong() -> None:
    window = judged(4, 600)
    chosen = chosen_loss(Schema(Task.BINARY, ()), Settings(loss="auc"), window)
    made = with_contrast(window, BaselinePlan(), task=Task.BINARY, centre=0.0, loss=chosen)
    verdict = single_look_verdict(made, task=Task.BINARY, settings=Settings(loss="auc"))
    assert window.score is not None
    assert window.baseline_score is not None
    assert window.label is not None
    found = compare_auc(window.score, window.baseline_score, window.label)
    assert found is not None
    assert verdict.difference == pytest.approx(found.second - found.first)
    assert verdict.se == pytest.approx(np.sqrt(found.variance))


def test_a_rank_without_a_reference_to_be_ranked_in_says_so() -> None:
    bare = Window(rows=50, score=np.full(50, 0.5), label=np.zeros(50))
    chosen = chosen_loss(Schema(Task.BINARY, ()), Settings(loss="auc"), bare)
    assert chosen is not None
    assert "under 20 labelled rows of a class with both scores" in chosen.trouble


@pytest.mark.parametrize(
    ("task", "loss"),
    [(Task.REGRESSION, "brier"), (Task.BINARY, "pinball"), (Task.MULTICLASS, "auc")],
)
def test_a_loss_of_another_task_is_refused_with_those_that_would_do(task: Task, loss: str) -> None:
    with pytest.raises(ValueError, match=f"loss '{loss}' is not for {task.value}; it may be"):
        chosen_loss(Schema(task, ()), Settings(loss=loss), Window(rows=0))


def test_pinball_is_read_at_the_quantile_that_was_named() -> None:
    settings = Settings(loss="pinball", quantile=0.9)
    chosen = chosen_loss(Schema(Task.REGRESSION, ()), settings, Window(rows=0))
    assert chosen is not None
    rows = Window(rows=2, score=np.array([1.0, 3.0]), label=np.array([2.0, 2.0]))
    assert chosen.transferred(rows) == pytest.approx([0.9, 0.1])
