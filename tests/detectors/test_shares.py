from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from detectors.records import FloatArray
from detectors.shares import FLOOR, ShareScale, share_statistics


def at_share(scale: ShareScale, observed: FloatArray, rows: float) -> tuple[FloatArray, FloatArray]:
    same = np.ones(len(observed))
    stepped = np.full(len(observed), scale.stepped)
    return share_statistics(observed, rows * same, scale.share * same, stepped)


def mean_likelihood_ratio(z: FloatArray, chance: FloatArray) -> float:
    """Largest mean over the alternatives of the t5 likelihood ratio with gate .02."""
    shifts = np.array([0.35, 0.6, 1.0, 1.7, 3.0, 5.0, 8.0])
    shifts = np.concatenate([shifts, -shifts])
    gate = 0.02 * np.sign(shifts)
    ratio = (1.0 + (z[:, None] - gate) ** 2 / 5.0) / (1.0 + (z[:, None] - shifts) ** 2 / 5.0)
    return float((chance @ ratio**3).max())


@pytest.mark.parametrize("share", [0.001, 0.004, 0.02, 0.099, 0.1, 0.3, 0.5, 0.9, 0.997])
@pytest.mark.parametrize("rows", [1, 5, 25, 100, 1_000])
def test_few_events_never_look_like_evidence(share: float, rows: int) -> None:
    """By exact summation over the binomial: mean likelihood ratio at most 1.03."""
    scale = ShareScale.of(share)
    events = np.arange(rows + 1.0)
    y, v = at_share(scale, events / rows, float(rows))
    level = 0.0 if scale.stepped else float(logit(share))
    chance = binom.pmf(events, rows, share)
    assert mean_likelihood_ratio((y - level) / np.sqrt(v), chance) < 1.03


@pytest.mark.parametrize("share", [0.002, 0.05, 0.2, 0.5, 0.8, 0.98])
def test_the_variance_is_that_of_the_binomial_where_events_are_many(share: float) -> None:
    scale = ShareScale.of(share)
    rows = int(60 / min(share, 1.0 - share))
    events = np.arange(rows + 1.0)
    y, v = at_share(scale, events / rows, float(rows))
    chance = binom.pmf(events, rows, share)
    mean = chance @ y
    assert chance @ (y - mean) ** 2 == pytest.approx(v[0], rel=0.03)


def test_the_logit_has_half_an_event_added_on_both_sides() -> None:
    y, v = at_share(ShareScale.of(0.4), np.array([0.0, 0.4, 1.0]), 20.0)
    assert y == pytest.approx([np.log(0.5 / 20.5), np.log(8.5 / 12.5), np.log(20.5 / 0.5)])
    assert v == pytest.approx((4.8 + 0.25) / 4.8**2)


def test_a_rare_share_does_not_move_with_traffic() -> None:
    """No event among ten rows and among a million is the same statement about the level."""
    scale = ShareScale.of(0.0)
    few, _ = at_share(scale, np.zeros(1), 10.0)
    many, _ = at_share(scale, np.zeros(1), 1e6)
    assert few == many
    assert scale.share == FLOOR


@pytest.mark.parametrize("share", [0.0, 0.01, 0.099, 0.3, 0.5, 0.7, 0.99, 1.0])
def test_the_smallest_effect_is_a_tenth_of_odds_and_half_a_point(share: float) -> None:
    scale = ShareScale.of(share)
    step = scale.smallest_effect(0.005) * (1.0 if share < 0.5 else -1.0)
    after = scale.after(step)
    assert abs(after - scale.share) >= 0.005 - 1e-12
    assert step * np.sign(step) >= np.log(1.1)
    if not scale.stepped:
        assert after == pytest.approx(expit(logit(share) + step))


def test_the_share_after_an_effect_stays_a_share() -> None:
    assert ShareScale.of(0.02).after(1e6) == 1.0
    assert ShareScale.of(0.02).after(-1e6) == 0.0
    assert ShareScale.of(0.02).after((0.34 - 0.02) / (0.02 * 0.98)) == pytest.approx(0.34)
