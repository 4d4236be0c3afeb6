from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from detectors.evidence.backtest import choose_tick, lag_one, try_tick
from detectors.records import DAY_US, HOUR_US, Budget, FloatArray, Tier
from tests.detectors.evidence.streams import specs_of, starts_of, wandering_streams


def test_lag_one_is_the_mean_correlation_of_neighbours() -> None:
    rng = np.random.default_rng(1)
    z = lfilter([1.0], [1.0, -0.4], rng.normal(size=(4000, 3)), axis=0)
    expected = np.mean([np.corrcoef(z[1:, k], z[:-1, k])[0, 1] for k in range(3)])
    assert lag_one(z) == pytest.approx(expected, abs=2e-3)
    z[::7] = np.nan
    assert lag_one(z) == pytest.approx(expected, abs=0.05)
    assert lag_one(np.full((5, 2), np.nan)) == 0.0


def test_the_shortest_tick_that_keeps_its_budget_is_taken() -> None:
    rng = np.random.default_rng(2)
    calm, v = wandering_streams(rng, 300, 3, phi=0.3)
    candidates = {
        6 * HOUR_US: (starts_of(112, 6 * HOUR_US), calm[:112], v[:112]),
        HOUR_US: (starts_of(300, HOUR_US), calm, v),
    }
    choice = choose_tick(candidates, specs_of(3), Budget())
    assert choice.tick_us == HOUR_US
    assert choice.guaranteed
    assert choice.why_not == ""
    assert [trial.tick_us for trial in choice.tried] == [HOUR_US]
    assert choice.tried[0].limit == (1, 4)


def _broken(rng: np.random.Generator, ticks: int, streams: int) -> tuple[FloatArray, FloatArray]:
    """Calm for two thirds, then every stream steps: more alarms than chance allows."""
    y, v = wandering_streams(rng, ticks, streams, phi=0.0, sd=0.0)
    y[3 * ticks // 4 :] += 2.0
    return y, v


def test_a_longer_tick_is_taken_where_a_shorter_one_overspends() -> None:
    rng = np.random.default_rng(3)
    hourly, v = _broken(rng, 300, 8)
    calm, w = wandering_streams(rng, 100, 8, phi=0.0)
    candidates = {
        HOUR_US: (starts_of(300, HOUR_US), hourly, v),
        6 * HOUR_US: (starts_of(100, 6 * HOUR_US), calm, w),
    }
    choice = choose_tick(candidates, specs_of(8), Budget())
    assert choice.tick_us == 6 * HOUR_US
    assert choice.guaranteed
    short = choice.tried[0]
    assert not short.passed
    assert short.alarms == (8, 0)
    assert "8 pages in 4 days where 1 may be chance" in short.why_not


def test_where_none_passes_the_longest_is_used_and_nothing_promised() -> None:
    rng = np.random.default_rng(4)
    y, v = _broken(rng, 300, 8)
    few, w = wandering_streams(rng, 10, 8, phi=0.0)
    choice = choose_tick(
        {HOUR_US: (starts_of(300, HOUR_US), y, v), DAY_US: (starts_of(10, DAY_US), few, w)},
        specs_of(8),
        Budget(),
    )
    assert choice.tick_us == DAY_US
    assert not choice.guaranteed
    assert "1 h: 8 pages" in choice.why_not
    assert "1 d: only 10 ticks, too few to tell" in choice.why_not


def test_each_tier_has_its_own_limit() -> None:
    y, v = _broken(np.random.default_rng(5), 300, 8)
    trial = try_tick(HOUR_US, starts_of(300, HOUR_US), y, v, specs_of(8, Tier.TICKET), Budget())
    assert trial.alarms == (0, 8)
    assert trial.limit == (1, 4)
    assert "8 tickets" in trial.why_not


def test_innovations_that_stay_correlated_fail() -> None:
    """Short memory over a third of the reference that its first part did not show."""
    rng = np.random.default_rng(6)
    calm = rng.normal(0, 0.1, (200, 6))
    tied = lfilter([1.0], [1.0, -0.75], rng.normal(0, 0.05, (100, 6)), axis=0)
    y = np.concatenate([calm, tied])
    trial = try_tick(
        HOUR_US, starts_of(300, HOUR_US), y, np.full(y.shape, 0.01), specs_of(6), Budget()
    )
    assert not trial.passed
    assert "correlate" in trial.why_not


def test_no_candidate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no tick length"):
        choose_tick({}, specs_of(1), Budget())
