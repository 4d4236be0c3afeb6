from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from detectors.records import Categories, FloatArray, Settings, Task, TransferState, Window
from detectors.transfer.loss import loss_of
from detectors.transfer.single_look import single_look_verdict

SETTINGS = Settings()


def table(
    n: int = 2000, seed: int = 0, skill: float = 0.3, weight: FloatArray | None = None
) -> Window:
    """Labels at 30 %; the transferred score knows `skill` of them, the baseline the base rate."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(np.float64)
    score = np.clip(0.3 + skill * (y - 0.3) + rng.normal(0, 0.1, n), 0, 1)
    baseline = np.clip(0.3 + rng.normal(0, 0.05, n), 0, 1)
    return Window(rows=n, score=score, baseline_score=baseline, label=y, weight=weight)


def test_the_interval_is_that_of_a_t_test_on_the_differences() -> None:
    window = table()
    assert window.score is not None
    assert window.baseline_score is not None
    assert window.label is not None
    d = loss_of(Task.BINARY, window.score, window.label) - loss_of(
        Task.BINARY, window.baseline_score, window.label
    )
    expected = stats.ttest_1samp(d, 0.0).confidence_interval(1 - 2 * SETTINGS.alpha)
    verdict = single_look_verdict(window, task=Task.BINARY, settings=SETTINGS)
    assert list(verdict.ci) == pytest.approx([expected.low, expected.high])
    assert verdict.state is TransferState.HELPS
    assert "single look, no time axis" in verdict.words


def test_a_score_worse_than_the_base_rate_hurts() -> None:
    verdict = single_look_verdict(table(skill=-0.2), task=Task.BINARY, settings=SETTINGS)
    assert verdict.state is TransferState.HURTS


def test_a_design_effect_widens_the_interval_by_its_root() -> None:
    plain = single_look_verdict(table(), task=Task.BINARY, settings=SETTINGS)
    wide = single_look_verdict(table(), task=Task.BINARY, settings=SETTINGS, design_effect=4.0)
    assert None not in (*plain.ci, *wide.ci)
    width = [float(v.ci[1] or 0) - float(v.ci[0] or 0) for v in (plain, wide)]
    assert width[1] / width[0] == pytest.approx(2.0, rel=0.01)


def test_copies_in_a_cluster_add_no_evidence() -> None:
    base = table(300)
    copies = base.take(np.repeat(np.arange(300), 5))
    codes = np.repeat(np.arange(300, dtype=np.int32), 5)
    clustered = Window(
        rows=1500,
        score=copies.score,
        baseline_score=copies.baseline_score,
        label=copies.label,
        cluster=Categories(codes, tuple(map(str, range(300)))),
    )
    once = single_look_verdict(base, task=Task.BINARY, settings=SETTINGS)
    again = single_look_verdict(clustered, task=Task.BINARY, settings=SETTINGS)
    assert list(again.ci) == pytest.approx(list(once.ci))


def test_a_weight_of_two_moves_the_mean_like_a_second_row() -> None:
    base = table(400)
    weighted = table(400, weight=np.where(np.arange(400) < 200, 2.0, 1.0))
    doubled = base.take(np.concatenate([np.arange(400), np.arange(200)]))
    first, second = (
        single_look_verdict(window, task=Task.BINARY, settings=SETTINGS)
        for window in (weighted, doubled)
    )
    assert first.difference == pytest.approx(second.difference)
    assert first.rows == 400


@pytest.mark.parametrize("task", list(Task))
def test_every_empty_or_degenerate_table_gets_words_instead_of_an_error(task: Task) -> None:
    nan = np.full(50, np.nan)
    half = np.full(50, 0.5)
    tables = {
        "no rows": Window(rows=0, score=np.empty(0), baseline_score=np.empty(0), label=np.empty(0)),
        "no baseline": Window(rows=50, score=half, label=np.ones(50)),
        "no score": Window(rows=50, baseline_score=half, label=np.ones(50)),
        "no labels": Window(rows=50, score=half, baseline_score=half, label=nan),
        "one class": Window(rows=50, score=half, baseline_score=half, label=np.ones(50)),
        "one row": Window(
            rows=1, score=np.array([0.2]), baseline_score=np.array([0.4]), label=np.array([1.0])
        ),
    }
    for name, window in tables.items():
        verdict = single_look_verdict(window, task=task, settings=SETTINGS)
        assert verdict.words
        numbers = [verdict.difference, *verdict.ci, verdict.margin, verdict.baseline_loss]
        assert all(value is None or np.isfinite(value) for value in numbers), name
        expected = {"no rows", "no baseline"}
        assert (verdict.state is TransferState.NOT_MONITORED) == (name in expected), name


def test_few_rare_labels_are_too_little_data() -> None:
    verdict = single_look_verdict(table(40), task=Task.BINARY, settings=SETTINGS)
    assert verdict.state is TransferState.UNDETERMINED
    assert verdict.ci == (None, None)
    assert "too little data" in verdict.words
