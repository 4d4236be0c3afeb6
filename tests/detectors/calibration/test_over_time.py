"""Evidence by cluster. The games are FiveThirtyEight's forecasts (CC BY 4.0), the first of each."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from detectors.calibration.in_the_large import in_the_large
from detectors.calibration.over_time import (
    ALTERNATIVES,
    SHIFT_GATE,
    SHIFTS,
    TILT_GATES,
    Forecasts,
    ForecastTick,
    estimated_null_cost,
    follow,
    read_tick,
    row_log_e,
    row_verdict_log_e,
    shift_of,
    start_forecasts,
)
from detectors.calibration.rows import log_odds, sigmoid
from detectors.records import DAY_US, FloatArray, IntArray

GAMES = Path(__file__).with_name("first_games.csv")
WEEK_US = 7 * DAY_US


def games(league: str) -> tuple[list[str], FloatArray, FloatArray]:
    with GAMES.open() as file:
        rows = [row for row in csv.DictReader(file) if row["league"] == league]
    p = np.array([float(row["prob"]) for row in rows])
    return [row["date"] for row in rows], p, np.array([float(row["outcome"]) for row in rows])


def one_tick(p: FloatArray, y: FloatArray, cluster: IntArray | None = None) -> ForecastTick:
    alone = np.arange(len(p)) if cluster is None else cluster
    return read_tick(p, y, alone, [], places=0, centre=0.0)


def run(
    ticks: list[ForecastTick], *, stake: float = 24.0, threshold: float = 720.0
) -> tuple[Forecasts, list[int]]:
    """State after all ticks, a day each, and the days of alarms."""
    state, alarms = start_forecasts(0), []
    for day, tick in enumerate(ticks):
        state, found = follow(
            state,
            tick,
            start_us=day * DAY_US,
            stake=np.array([stake]),
            threshold=threshold,
            mute_us=WEEK_US,
        )
        alarms += [day] * len(found)
    return state, alarms


def test_no_change_within_the_practical_effect_wins_on_average_and_its_edge_breaks_even() -> None:
    """E[E] over both labels, by the definition, for every alternative and score."""
    p = np.array([0.02, 0.2, 0.5, 0.7, 0.97])
    e1, e0 = (np.exp(row_log_e(p, np.full(5, y), centre=-0.4)) for y in (1.0, 0.0))
    for move in (-SHIFT_GATE, 0.0, SHIFT_GATE):
        truth = sigmoid(log_odds(p) + move)[:, None]
        assert (truth * e1 + (1 - truth) * e0 <= 1 + 1e-12)[:, : len(SHIFTS)].all()
    edge = sigmoid(log_odds(p) + SHIFT_GATE)[:, None]
    assert (edge * e1 + (1 - edge) * e0)[:, :4] == pytest.approx(np.ones((5, 4)))
    tilted = sigmoid(-0.4 + TILT_GATES[0] * (log_odds(p) + 0.4))[:, None]
    assert (tilted * e1 + (1 - tilted) * e0)[:, 8:10] == pytest.approx(np.ones((5, 2)))
    assert (p[:, None] * e1 + (1 - p[:, None]) * e0 <= 1 + 1e-12).all()


def test_forty_copies_of_each_forecast_tell_what_one_tells() -> None:
    rng = np.random.default_rng(3)
    p = rng.uniform(0.1, 0.9, 50)
    y = (rng.random(50) < p).astype(float)
    once = one_tick(p, y)
    copies = one_tick(np.repeat(p, 40), np.repeat(y, 40), np.repeat(np.arange(50), 40))
    assert copies.log_e == pytest.approx(once.log_e)
    assert copies.verdict == pytest.approx(once.verdict)
    assert copies.clusters == pytest.approx([50.0])
    assert copies.sums == pytest.approx(once.sums)


def test_a_slice_is_what_its_rows_alone_would_say() -> None:
    rng = np.random.default_rng(4)
    p, y = rng.uniform(0.1, 0.9, 300), (rng.random(300) < 0.5).astype(float)
    cluster, place = np.arange(300) // 3, (rng.random(300) < 0.4).astype(np.int32) - 1
    both = read_tick(p, y, cluster, [place], places=1, centre=0.2)
    inside = place == 0
    numbers = np.unique(cluster[inside], return_inverse=True)[1]
    own = read_tick(p[inside], y[inside], numbers, [], places=0, centre=0.2)
    assert both.log_e[1] == pytest.approx(own.log_e[0])
    assert both.clusters[1] == own.clusters[0]
    assert both.sums[:, 1] == pytest.approx(own.sums[:, 0])


def test_the_nba_was_never_right_and_baseball_may_be() -> None:
    """The published study's forecasts: the first evidence of 20 comes at game 113 of the NBA.

    Checked against the product of likelihood ratios written out here.
    """
    for league, first in (("nba", 113), ("mlb", None)):
        _, p, y = games(league)
        mixed = np.zeros(len(p))
        for shift in (0.2, 0.4, -0.2, -0.4):
            q = 1 / (1 + (1 - p) / p * np.exp(-shift))
            mixed += np.cumprod(np.where(y > 0.5, q / p, (1 - q) / (1 - p))) / 4
        over = np.flatnonzero(mixed >= 20)
        assert (int(over[0]) + 1 if over.size else None) == first
        dates, p, y = games(league)
        days = [np.array(dates) == date for date in dict.fromkeys(dates)]
        state, _ = run([one_tick(p[day], y[day]) for day in days])
        assert state.never_right == (first is not None)
        assert state.verdict_most == pytest.approx(np.log(mixed.max()))


def test_calibrated_forecasts_alarm_no_more_often_than_the_budget_allows() -> None:
    """400 worlds of 30 days, each a slice, at one alarm in ten days: three each on average."""
    rng, worlds, games_a_day = np.random.default_rng(7), 400, 12
    state, alarms = start_forecasts(worlds), 0
    world = np.repeat(np.arange(worlds, dtype=np.int32), games_a_day)
    for day in range(30):
        p = rng.uniform(0.1, 0.9, len(world))
        y = (rng.random(len(world)) < p).astype(float)
        both = [np.repeat(one, 3) for one in (p, y, np.arange(len(world)), world)]
        tick = read_tick(both[0], both[1], both[2], [both[3]], places=worlds, centre=0.0)
        state, found = follow(
            state,
            tick,
            start_us=day * DAY_US,
            stake=np.append(0.0, np.full(worlds, 24.0)),
            threshold=240.0,
            mute_us=0,
        )
        alarms += len(found)
    assert 0 < alarms / worlds <= 3.0 + 3 * np.sqrt(3.0 / worlds)


def test_a_shift_of_half_a_log_odds_is_found_and_a_small_one_never_is() -> None:
    rng = np.random.default_rng(11)

    def ticks(shift: float, days: int) -> list[ForecastTick]:
        p = rng.uniform(0.2, 0.8, (days, 40))
        y = (rng.random((days, 40)) < sigmoid(log_odds(p) + shift)).astype(float)
        return [one_tick(a, b) for a, b in zip(p, y, strict=True)]

    quiet = ticks(0.0, 20)
    _, alarms = run([*quiet, *ticks(0.5, 20)])
    assert 20 <= alarms[0] < 30
    _, alarms = run(ticks(0.04, 400), stake=2.0)
    assert len(alarms) <= 2


def test_scores_that_add_up_to_one_winner_are_bet_on_by_tilt_alone() -> None:
    rng = np.random.default_rng(15)
    ticks = []
    for _ in range(30):
        strength = np.exp(rng.normal(0, 1, (60, 5)))
        p = strength / strength.sum(axis=1, keepdims=True)
        flat = strength**0.5 / (strength**0.5).sum(axis=1, keepdims=True)
        winner = (rng.random((60, 1)) > flat.cumsum(axis=1)).sum(axis=1)
        y = np.zeros((60, 5))
        y[np.arange(60), np.minimum(winner, 4)] = 1.0
        ticks.append(one_tick(p.ravel(), y.ravel(), np.repeat(np.arange(60), 5)))
    state, alarms = run(ticks)
    assert state.sum_constrained
    assert (state.wealth[0, : len(SHIFTS)] == -np.inf).all()
    assert alarms
    p = rng.uniform(0.1, 0.9, 3000)
    y = (rng.random(3000) < p).astype(float)
    free, _ = run([one_tick(p, y, np.arange(3000) // 5)])
    assert not free.sum_constrained


def test_a_null_that_was_estimated_costs_what_keeps_its_wealth_fair() -> None:
    """r is the rate of 300 reference rows; over all references, E less its cost is at most 1."""
    truth, growth = 0.3, np.zeros(ALTERNATIVES)
    for ones in range(60, 121):
        r = np.array([(ones + 0.5) / 301.0])
        up, down = (np.exp(row_log_e(r, np.array([y]), 0.0))[0] for y in (1.0, 0.0))
        fair = np.exp(-estimated_null_cost(r, 0.0, 300.0))
        growth += binom.pmf(ones, 300, truth) * (truth * up + (1 - truth) * down) * fair
    assert (growth <= 1.0).all()
    assert np.exp(estimated_null_cost(np.array([0.3]), 0.0, 300.0)).max() > 1.01


@pytest.mark.parametrize("shift", [-0.9, -0.3, 0.05, 0.7])
def test_the_shift_read_from_sums_is_the_maximum_likelihood_intercept(shift: float) -> None:
    rng = np.random.default_rng(31)
    p = rng.uniform(0.05, 0.95, 4000)
    y = (rng.random(4000) < sigmoid(log_odds(p) + shift)).astype(float)
    told, exact = shift_of(one_tick(p, y).sums[:, 0]), in_the_large(p, y)
    assert told is not None
    assert exact is not None
    assert told[0] == pytest.approx(exact.intercept, abs=0.01)
    assert told[1] == pytest.approx(exact.intercept_se, rel=0.15)


def test_the_verdict_asks_of_the_exact_probability() -> None:
    p = np.array([0.1, 0.5, 0.8])
    e1, e0 = (np.exp(row_verdict_log_e(p, np.full(3, y))) for y in (1.0, 0.0))
    assert p[:, None] * e1 + (1 - p[:, None]) * e0 == pytest.approx(np.ones((3, 4)))
