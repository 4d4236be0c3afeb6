from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from detectors.records import TransferState
from detectors.transfer.review import (
    planned_review,
    robust_mean,
    spending_bounds,
    spent,
    tick_factor,
)
from tests.detectors.transfer.simulate import noise

FIRST = [0.02, 0.05, -0.01, 0.04, 0.06, 0.03, 0.05, 0.02, 0.07, 0.01, 0.03, 0.04]
SECOND = [0, 0.05, 0.02, 0.06, 0.03, 0.01, 0.04, 0.05, 0.02, 0.03, 0.06, 0]
X = np.array([*FIRST, *SECOND])
N = np.array([50.0, 40, 60, 50, 50, 45, 55, 50] * 3)
LOOKS = np.array([12, 18, 24])
ELAPSED = np.array([0.5, 0.75, 1.0])


@pytest.mark.parametrize(
    ("looks", "alpha", "expected"),
    [
        (4, 0.04, [3.9444, 2.6815, 2.1305, 1.8182]),
        (4, 0.05, [3.7496, 2.5399, 2.0161, 1.7202]),
        (5, 0.025, [4.877, 3.357, 2.680, 2.290, 2.031]),
    ],
)
def test_bounds_match_published_tables(looks: int, alpha: float, expected: list[float]) -> None:
    """The five-look row is the O'Brien-Fleming-like one of textbooks on sequential trials."""
    steps = np.arange(1.0, looks + 1.0)
    found = spending_bounds(100.0 * steps, steps / looks, alpha)
    decimals = 1e-3 if looks == 5 else 1e-4
    assert found == pytest.approx(expected, abs=0.6 * decimals)


def test_a_brownian_motion_crosses_as_often_as_was_spent() -> None:
    """Uneven information against calendar time, checked by simulation of the motion itself."""
    information, elapsed = np.array([30.0, 50, 400, 420, 1000]), np.array([0.3, 0.5, 0.6, 0.9, 1.0])
    bounds = np.array(spending_bounds(information, elapsed, 0.1), dtype=np.float64)
    rng = np.random.default_rng(5)
    steps = np.sqrt(np.diff(information, prepend=0.0)) * rng.normal(size=(200_000, 5))
    z = np.cumsum(steps, axis=1) / np.sqrt(information)
    crossed = np.maximum.accumulate(z > bounds, axis=1).mean(axis=0)
    expected = [spent(share, 0.1) for share in elapsed]
    assert crossed == pytest.approx(expected, abs=3 * np.sqrt(0.1 * 0.9 / 200_000))


def test_a_bound_uses_nothing_of_later_looks() -> None:
    first = spending_bounds([100, 150], [0.4, 0.6], 0.04)
    longer = spending_bounds([100, 150, 900], [0.4, 0.6, 1.0], 0.04)
    assert longer[:2] == pytest.approx(first, abs=1e-6)


def test_a_look_too_early_to_spend_anything_has_no_finite_bound() -> None:
    bounds = spending_bounds([1.0, 100.0], [1e-5, 1.0], 0.04)
    assert bounds[0] > 30.0
    assert bounds[1] == pytest.approx(norm.isf(0.04), abs=1e-4)


def test_the_worked_example_hurts_at_its_second_look() -> None:
    review = planned_review(X * N, N, LOOKS, ELAPSED, margin=0.02, alpha=0.04)
    looks = review.looks
    assert [look.mean for look in looks] == pytest.approx([0.033667, 0.031966, 0.0325], abs=5e-7)
    assert [look.se for look in looks] == pytest.approx([0.005099, 0.00332, 0.00256], abs=5e-7)
    assert [look.p_hurts for look in looks] == pytest.approx(
        [0.018261, 0.005657, 0.00138], abs=5e-7
    )
    assert [look.bound for look in looks] == pytest.approx([2.6802, 2.1295, 1.8204], abs=6e-5)
    assert norm.sf([look.bound for look in looks]) == pytest.approx(
        [0.003679, 0.016605, 0.034346], abs=5e-6
    )
    assert [look.rows for look in looks] == [600, 890, 1200]
    assert review.state is TransferState.HURTS
    assert review.decided == 1
    assert not review.so_far


def test_the_mirror_image_helps() -> None:
    review = planned_review(-X * N, N, LOOKS, ELAPSED, margin=0.02, alpha=0.04)
    assert review.state is TransferState.HELPS
    assert review.looks[1].p_helps == pytest.approx(0.005657, abs=5e-7)


def test_an_early_word_needs_the_later_half_to_agree() -> None:
    """A strong first half carries the mean over the bound; the later half has turned."""
    x = np.concatenate([np.full(12, 0.9), np.full(12, 0.01)]) + 0.002 * np.tile([1.0, -1.0], 12)
    x = x + 0.4 * np.cos(np.arange(24))
    guarded = planned_review(
        x, np.ones(24), np.array([24]), np.array([0.99]), margin=0.02, alpha=0.4
    )
    assert guarded.looks[0].crossed is TransferState.HURTS
    assert guarded.state is TransferState.UNDETERMINED
    assert guarded.so_far


def test_the_early_word_stands_at_the_review_only_while_the_mean_is_beyond_the_margin() -> None:
    rng = np.random.default_rng(2)
    early = 0.1 + 0.02 * rng.normal(size=40)
    faded = np.concatenate([early, 0.02 + 0.4 * rng.normal(size=40)])
    turned = np.concatenate([early, -0.12 + 0.02 * rng.normal(size=40)])
    looks, elapsed = np.array([40, 80]), np.array([0.5, 1.0])
    for series, word in ((faded, TransferState.HURTS), (turned, TransferState.UNDETERMINED)):
        begun = planned_review(series, np.ones(80), looks[:1], elapsed[:1], margin=0.01, alpha=0.04)
        assert begun.state is TransferState.HURTS
        assert begun.so_far
        held = planned_review(series, np.ones(80), looks, elapsed, margin=0.01, alpha=0.04)
        assert held.state is word
        assert not held.so_far


def test_no_look_before_twelve_ticks_or_twenty_minority_labels() -> None:
    args = (np.array([11, 12, 24]), np.array([0.4, 0.5, 1.0]))
    review = planned_review(X * N, N, *args, margin=0.02, alpha=0.04)
    assert [look.ticks for look in review.looks] == [12, 24]
    rare = planned_review(X * N, N, *args, margin=0.02, alpha=0.04, minority=np.ones(24))
    assert [look.ticks for look in rare.looks] == [24]


def test_a_review_without_new_rows_still_spends_what_is_left() -> None:
    review = planned_review(
        X * N, N, np.array([24, 24]), np.array([0.5, 1.0]), margin=0.02, alpha=0.04
    )
    assert [look.elapsed for look in review.looks] == [1.0]
    assert review.looks[0].bound == pytest.approx(norm.isf(0.04), abs=1e-6)


def test_the_robust_error_sees_dependence_that_the_plain_one_misses() -> None:
    rng = np.random.default_rng(4)
    robust, plain, means = [], [], []
    for _ in range(400):
        x = noise(rng, 180, 0.6)
        mean, se, _ = robust_mean(x, np.ones(180))
        means.append(mean)
        robust.append(se**2)
        plain.append(x.var() / 180)
    truth = np.var(means)
    assert np.mean(robust) == pytest.approx(truth, rel=0.25)
    assert np.mean(plain) < 0.4 * truth


def test_persistent_days_are_doubled_and_calm_days_are_not() -> None:
    rng = np.random.default_rng(6)
    assert tick_factor(noise(rng, 180), np.ones(180)) == 1
    assert tick_factor(noise(rng, 180, 0.9), np.ones(180)) >= 2
    assert tick_factor(noise(rng, 47, 0.95), np.ones(47)) == 1


def test_false_words_at_the_margin_stay_near_what_was_allowed() -> None:
    """26 looks over 182 days with the mean exactly on the margin, 600 runs, α=.04."""
    rng = np.random.default_rng(8)
    looks = np.arange(1, 27) * 7
    false = 0
    for _ in range(600):
        x = 0.02 + noise(rng, 182)
        review = planned_review(x, np.ones(182), looks, looks / 182, margin=0.02, alpha=0.04)
        false += any(look.crossed is TransferState.HURTS for look in review.looks)
    assert false / 600 <= 0.043 + 3 * np.sqrt(0.043 * 0.957 / 600)


def test_identical_models_and_empty_logs_are_undetermined() -> None:
    same = planned_review(np.zeros(24), N, LOOKS, ELAPSED, margin=0.02, alpha=0.04)
    assert same.state is TransferState.UNDETERMINED
    none = planned_review(
        np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0), margin=0.02, alpha=0.04
    )
    assert none.state is TransferState.UNDETERMINED
    assert none.looks == ()
