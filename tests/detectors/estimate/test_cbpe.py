from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from detectors.estimate.cbpe import CELLS, estimate_performance
from detectors.estimate.records import Estimate
from detectors.records import DAY_US, Task, Window


def window(
    n: int,
    seed: int,
    *,
    centre: float = -1.0,
    shift: float = 0.0,
    days: int = 0,
) -> Window:
    """Scores are off by `shift` log odds; `days` of event time where above 0."""
    rng = np.random.default_rng(seed)
    z = rng.normal(centre, 1.2, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-(z + shift)))).astype(np.float64)
    ts = rng.integers(0, days * DAY_US, n) if days else None
    return Window(rows=n, score=1 / (1 + np.exp(-z)), label=label, ts_us=ts)


def unlabelled(current: Window) -> Window:
    return dataclasses.replace(current, label=None)


def by_name(found: tuple[Estimate, ...]) -> dict[str, Estimate]:
    return {estimate.metric: estimate for estimate in found}


def test_five_scores_give_the_published_accuracy_and_f1() -> None:
    current = Window(rows=5, score=np.array([0.9, 0.8, 0.3, 0.6, 0.1]))
    found = by_name(estimate_performance(Window(rows=0), current, task=Task.BINARY))
    assert found["accuracy"].value == pytest.approx(0.78)
    assert found["f1"].value == pytest.approx(0.807018, abs=5e-7)
    assert "scores are believed" in found["f1"].words
    assert found["f1"].realised is None


@pytest.mark.parametrize("n", [2000, 12_000])
@pytest.mark.parametrize("days", [0, 30])
def test_under_covariate_shift_the_estimate_meets_what_is_realised(n: int, days: int) -> None:
    """The scores are off by .7 in both windows; only the mix of rows changes."""
    reference = window(n, 1, shift=0.7, days=days)
    current = window(n, 2, centre=0.2, shift=0.7, days=days)
    for name, estimate in by_name(
        estimate_performance(reference, current, task=Task.BINARY)
    ).items():
        assert estimate.value is not None
        assert estimate.realised is not None
        low, high = estimate.ci
        assert low is not None
        assert high is not None
        assert low <= estimate.value <= high
        noise = 2.5 / np.sqrt(n)
        assert low - noise <= estimate.realised <= high + noise, name


def test_uncalibrated_scores_are_corrected_by_the_reference() -> None:
    reference, current = window(6000, 3, shift=1.5), window(6000, 4, shift=1.5)
    right = by_name(estimate_performance(reference, current, task=Task.BINARY))["accuracy"]
    naive = by_name(estimate_performance(Window(rows=0), current, task=Task.BINARY))["accuracy"]
    assert right.realised is not None
    assert right.value == pytest.approx(right.realised, abs=0.03)
    assert naive.value is not None
    assert abs(naive.value - right.realised) > 0.1


def test_it_is_blind_to_a_changed_relation_and_the_words_show_both_numbers() -> None:
    changed = by_name(
        estimate_performance(window(6000, 5), window(6000, 6, shift=-2.0), task=Task.BINARY)
    )["log_loss"]
    assert changed.realised is not None
    assert changed.ci[1] is not None
    assert f"realised {changed.realised:.3f}" in changed.words


def test_the_interval_covers_the_truth_about_as_often_as_stated() -> None:
    """30 pairs; the truth is the accuracy on a large window of the same world."""
    large = window(100_000, 7, centre=-0.3, shift=0.5)
    assert large.score is not None
    assert large.label is not None
    truth = float(((large.score >= 0.5) == (large.label > 0.5)).mean())
    held = 0
    for seed in range(30):
        reference = window(800, 100 + seed, shift=0.5)
        current = unlabelled(window(800, 200 + seed, centre=-0.3, shift=0.5))
        found = estimate_performance(reference, current, task=Task.BINARY, replicates=40)
        low, high = by_name(found)["accuracy"].ci
        held += low is not None and high is not None and low <= truth <= high
    assert held >= 24


def test_days_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(8)
    days = np.repeat(np.arange(20), 200)
    z = rng.normal(rng.normal(0, 1.5, 20)[days], 0.5)
    rows = Window(rows=4000, score=1 / (1 + np.exp(-z)))
    dated = dataclasses.replace(rows, ts_us=(days * DAY_US).astype(np.int64))
    widths = []
    for current in (rows, dated):
        low, high = by_name(estimate_performance(Window(rows=0), current, task=Task.BINARY))[
            "accuracy"
        ].ci
        assert low is not None
        assert high is not None
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_many_scores_in_cells_agree_with_the_sum_over_rows() -> None:
    current = window(20 * CELLS, 9)
    assert current.score is not None
    p = current.score
    found = by_name(estimate_performance(Window(rows=0), current, task=Task.BINARY))
    assert found["accuracy"].value == pytest.approx(float(np.maximum(p, 1 - p).mean()), abs=1e-9)
    served = np.clip(p, 0.01, 0.99)
    loss = float(-(p * np.log(served) + (1 - p) * np.log(1 - served)).mean())
    assert found["log_loss"].value == pytest.approx(loss, abs=1e-3)


def test_the_same_seed_gives_the_same_interval() -> None:
    pair = window(500, 10), window(500, 11)
    first = estimate_performance(*pair, task=Task.BINARY)
    assert first == estimate_performance(*pair, task=Task.BINARY)


def test_multiclass_has_accuracy_and_regression_has_no_estimate() -> None:
    pair = window(2000, 12, centre=1.0), window(2000, 13, centre=1.0)
    found = by_name(estimate_performance(*pair, task=Task.MULTICLASS))
    assert set(found) == {"log_loss", "accuracy"}
    assert found["accuracy"].value == pytest.approx(found["accuracy"].realised, abs=0.04)
    assert estimate_performance(*pair, task=Task.REGRESSION) == ()


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
def test_degenerate_windows_give_finite_numbers_or_none(task: Task) -> None:
    nan = np.full(30, np.nan)
    bases = [
        Window(rows=0),
        window(300, 14),
        Window(rows=30, score=np.full(30, 0.5), label=np.ones(30)),
        Window(rows=30, score=np.full(30, 0.5), label=nan),
    ]
    currents = [
        Window(rows=0, score=np.empty(0)),
        Window(rows=30),
        Window(rows=30, score=nan),
        Window(rows=30, score=np.zeros(30)),
        Window(rows=30, score=np.ones(30), label=np.ones(30)),
        Window(rows=1, score=np.array([0.4]), label=np.array([1.0])),
        Window(rows=30, score=np.full(30, 0.4), weight=np.geomspace(1, 1e4, 30)),
    ]
    for base in bases:
        for current in currents:
            for estimate in estimate_performance(base, current, task=task, replicates=20):
                numbers = [estimate.value, *estimate.ci, estimate.realised]
                assert all(number is None or np.isfinite(number) for number in numbers)
                assert estimate.words
