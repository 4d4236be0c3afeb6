"""What is said of a deed by days before the change, while it hurt, and after."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from benchmarks.faults.remedies import WORLDS, by_days, losses
from detectors.records import DAY_US, FloatArray, IntArray
from detectors.remedy import Answer, Remedy, answer_of, remedy_of

WORLD = {world.name: world for world in WORLDS}


def days(*stretches: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Starts, values and a tiny known variance, so that only the scatter counts."""
    y = np.concatenate(stretches)
    return np.arange(len(y), dtype=np.int64) * DAY_US, y, np.full(len(y), 1e-6)


def looked_at(*stretches: FloatArray) -> Remedy:
    before, ill = len(stretches[0]), len(stretches[1])
    found = remedy_of(
        *days(*stretches),
        changed_us=before * DAY_US,
        served_us=(before + ill) * DAY_US,
        fallback=9.0,
    )
    assert found is not None
    return found


def test_levels_are_means_of_their_stretches_and_errors_those_of_a_pooled_t_test() -> None:
    """With the memory taken out again: alternating days have none to be found."""
    rng = np.random.default_rng(1)
    noise = [np.abs(rng.normal(1.0, 0.2, n)) * (-1.0) ** np.arange(n) for n in (20, 14, 10)]
    before, ill, after = noise[0], 5.0 + noise[1], 1.0 + noise[2]
    found = looked_at(before, ill, after)
    assert (found.expected, found.ill, found.after) == pytest.approx(
        (before.mean(), ill.mean(), after.mean())
    )
    assert found.gone == pytest.approx(1.0 - (after.mean() - before.mean()) / found.harm)
    pooled = [part - part.mean() for part in (before, ill, after)]
    same = np.sqrt(sum(float(r @ r) for r in pooled) / 41)
    assert found.left_error == pytest.approx(same * np.sqrt(1 / 20 + 1 / 10))
    two = ttest_ind(ill, before).statistic
    assert found.harm / found.harm_error == pytest.approx(two, rel=0.15)


def test_a_season_before_the_change_is_no_part_of_what_is_expected() -> None:
    """Only the 28 days before it are; with under seven the level of the reference stands in."""
    rng = np.random.default_rng(2)
    old, near = rng.normal(7.0, 0.1, 60), rng.normal(0.0, 0.1, 28)
    found = looked_at(np.concatenate([old, near]), rng.normal(3.0, 0.1, 14), near[:7])
    assert found.expected == pytest.approx(near.mean())
    assert looked_at(near[:6], near[:14] + 3.0, near[:7]).expected == 9.0


def test_a_harm_that_was_never_seen_can_neither_go_nor_stay() -> None:
    rng = np.random.default_rng(3)
    flat = looked_at(rng.normal(size=28), rng.normal(size=14), rng.normal(size=20))
    assert answer_of(flat, margin=0.5, late=True, one_sided=True) is Answer.OPEN
    assert not flat.shows_harm(0.5)


def test_half_a_harm_gone_is_neither_verified_nor_refuted() -> None:
    rng = np.random.default_rng(4)
    half = looked_at(rng.normal(0.0, 0.2, 28), rng.normal(4.0, 0.2, 14), rng.normal(1.6, 0.2, 20))
    assert answer_of(half, margin=0.3, late=True, one_sided=True) is Answer.OPEN
    assert half.gone == pytest.approx(0.6, abs=0.1)


def test_a_loss_below_what_is_expected_is_no_harm_but_a_label_rate_is() -> None:
    rng = np.random.default_rng(5)
    beyond = looked_at(
        rng.normal(0.0, 0.2, 28), rng.normal(4.0, 0.2, 14), rng.normal(-2.0, 0.2, 20)
    )
    assert answer_of(beyond, margin=0.3, late=True, one_sided=True) is Answer.WORKED
    assert answer_of(beyond, margin=0.3, late=True, one_sided=False) is not Answer.WORKED


@pytest.mark.parametrize("name", ["autumn, AR .5", "AR .8"])
def test_nothing_done_is_not_verified_and_what_worked_is_not_refuted(name: str) -> None:
    """Forty histories each, looked at each of 28 days; a season or a long memory fools nobody."""
    rng = np.random.default_rng(6)
    for gone, never in ((0.0, Answer.WORKED), (1.0, Answer.FAILED)):
        said = []
        for _ in range(40):
            served, _ = losses(WORLD[name], gone, rng)
            said.append(by_days(served, float(served[:30].mean()), None))
        assert said.count(never) <= 1
        assert said.count(Answer.OPEN) <= 20
