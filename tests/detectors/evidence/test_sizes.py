"""Whether a change of counts matters: against the binomial law itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit

from detectors.evidence.sizes import RateSize, RowSize

DECAY = 0.96


def fading(rng: np.random.Generator, rate: float, expected: float, trials: int) -> np.ndarray:
    """Sums (1000, 3) of 300 ticks with fading weights, of a thousand streams."""
    weights = DECAY ** np.arange(299, -1, -1)
    events = rng.binomial(trials, rate, (1000, 300)) @ weights
    n = trials * weights.sum()
    return np.stack([events, np.full(1000, n), np.full(1000, n * expected)], axis=1)


def test_the_last_ticks_are_sure_of_a_large_change_and_never_of_one_on_the_edge() -> None:
    rng = np.random.default_rng(1)
    size = RateSize(odds=math.log(1.5), share=0.0, base=None, excess=1.0)
    edge = float(expit(logit(0.03) + math.log(1.5)))
    for rate, low, high in ((edge, 0, 3), (0.09, 995, 1000), (0.03, 0, 0)):
        sure = sum(size.surely(sums, DECAY) for sums in fading(rng, rate, 0.03, 100))
        assert low <= sure <= high, rate


def test_a_rate_that_falls_to_nothing_is_sure() -> None:
    size = RateSize(odds=math.log(1.5), share=0.0, base=None, excess=1.0)
    assert size.surely(np.array([0.0, 2500.0, 75.0]), DECAY)
    assert not size.surely(np.array([0.0, 2500.0, 7.0]), DECAY)


def test_more_scatter_asks_for_more() -> None:
    sums = np.array([120.0, 1000.0, 50.0])
    narrow = RateSize(odds=math.log(1.5), share=0.0, base=None, excess=1.0)
    wide = RateSize(odds=math.log(1.5), share=0.0, base=None, excess=9.0)
    assert narrow.surely(sums, DECAY)
    assert not wide.surely(sums, DECAY)


def test_both_the_odds_and_the_share_must_matter() -> None:
    sums = np.array([120.0, 1000.0, 50.0])
    for share, yes in ((0.05, True), (0.1, False)):
        size = RateSize(odds=math.log(1.5), share=share, base=None, excess=1.0)
        assert size.matters(sums) is yes
    assert not RateSize(math.log(1.5), 1.0, None, 1.0).surely(sums, DECAY)


def test_effects_are_in_units_of_y() -> None:
    sums = np.array([120.0, 1000.0, 50.0])
    odds = RateSize(0.0, 0.0, None, 1.0).effect(sums)
    assert odds == pytest.approx(float(logit(0.12) - logit(0.05)), abs=0.01)
    assert RateSize(0.0, 0.0, 0.05, 1.0).effect(sums) == pytest.approx(0.07 / (0.05 * 0.95))
    assert RowSize(0.0).effect(np.array([30.0, 100.0, 0.0])) == pytest.approx(0.3)
    assert RateSize(0.0, 0.0, None, 1.0).effect(np.zeros(3)) == 0.0


def test_rows_must_exceed_what_matters_by_their_error() -> None:
    sums = np.array([30.0, 100.0, 0.0])
    assert RowSize(0.0).matters(sums)
    assert RowSize(0.09).matters(sums), ".3 ± .1 exceeds .09 by two errors"
    assert not RowSize(0.11).matters(sums)
    assert not RowSize(0.1).surely(sums, DECAY)
    assert RowSize(0.1).surely(np.array([300.0, 1000.0, 0.0]), DECAY)
