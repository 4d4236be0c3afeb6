"""One compiled step, held against published numbers and against matrices written out in full."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, stats

from detectors.evidence.filter import follow, inject, learn, student_t_evalue
from detectors.evidence.grids import ALTERNATIVES, STAKES, Bets
from detectors.evidence.state import (
    ACTIVE,
    DELTA_MIN,
    GATE,
    NOISE,
    PHI,
    RESET,
    SCALE2,
    WALK,
    Betting,
    FilterState,
    Ticks,
    start_state,
    steady_response,
)
from detectors.records import HOUR_US, FloatArray
from tests.detectors.evidence.published import (
    PUBLISHED,
    level_state,
    level_ticks,
    run_vector,
    short_pace,
    whole_bet,
)


def test_filter_trackers_and_wealth_agree_with_the_published_vector() -> None:
    _, z, widening, wealth, levels = run_vector()
    assert_allclose(
        z, [0.81677, 0.033463, 1.794054, 1.701531, 1.886134, 0.476499, 1.553493], atol=5e-7
    )
    assert_allclose(widening, [1, 1, 1, 1.036052, 1.095659, 1.168133, 1.135235], atol=5e-7)
    assert_allclose(
        wealth,
        [0.494732, 0.713803, 2.16797, 5.744355, 16.956725, 12.187002, 26.39769],
        atol=5e-6,
    )
    assert_allclose(
        levels, [0.056122, 0.057021, 0.103956, 0.139262, 0.191686, 0.203692, 0.23424], atol=5e-7
    )


def test_innovations_of_a_known_level_agree_with_the_published_kalman_vector() -> None:
    y = np.array([0.1, -0.05, 0.2, 0.3, 0.25])[:, None]
    v = np.array([0.01, 0.02, 0.01, 0.01, 0.04])[:, None]
    model = level_state(1, phi=0.8, q=0.005).model
    state = start_state(np.zeros((1, 1)), np.zeros((1, 1)), model)
    z = learn(state, level_ticks(y, v), short_pace())
    assert_allclose(z[:, 0], [0.646997, -0.569483, 1.355138, 1.63096, 0.490178], atol=5e-7)


def test_wealth_of_given_innovations_agrees_with_the_published_vector() -> None:
    wealth = np.zeros(14)
    totals = []
    for z in (0.3, -0.5, 2.1, 2.8, 3.5):
        for j, shift in enumerate(PUBLISHED.shifts):
            wealth[j] = inject(wealth[j], 1 / 14, student_t_evalue(z, shift, 0.15))
        totals.append(wealth.sum())
    assert_allclose(totals, [0.392374, 0.709327, 1.963706, 11.066357, 171.327129], atol=5e-6)


@pytest.mark.parametrize("shift", [0.35, 1.7, 8.0, -0.6, -5.0])
@pytest.mark.parametrize("gate", [0.02, 0.3])
def test_the_evalue_expects_at_most_one_wherever_the_null_lies_within_the_gate(
    shift: float, gate: float
) -> None:
    def expected(location: float) -> float:
        value, _ = integrate.quad(
            lambda z: student_t_evalue(z, shift, gate) * stats.t.pdf(z - location, 5), -200, 200,
            limit=500, points=[location, shift],
        )  # fmt: skip
        return float(value)

    edge = math.copysign(gate, shift)
    assert expected(edge) == pytest.approx(1.0, abs=1e-4)
    if abs(shift) > gate:
        assert expected(0.0) < 1.0
        assert expected(-edge) < 1.0


def test_the_steady_response_agrees_with_the_published_number_and_with_a_long_run() -> None:
    assert steady_response(np.array([0.8]), np.array([1.388889]))[0] == pytest.approx(
        0.363172, abs=5e-7
    )
    for phi, ratio in [(0.0, 1.0), (0.55, 0.15), (0.92, 40.0)]:
        q, p = ratio * (1 - phi**2), ratio
        for _ in range(2000):
            p = phi**2 * p * (1 - p / (p + 1)) + q
        gain, state = p / (p + 1), 0.0
        for _ in range(2000):
            shown = 1.0 - state
            state = phi * (state + gain * shown)
        found = steady_response(np.array([phi]), np.array([ratio]))[0]
        assert found == pytest.approx(shown, rel=1e-9)


def _random_case(
    rng: np.random.Generator, ticks: int, streams: int, p: int
) -> tuple[FilterState, Ticks]:
    model = np.zeros((streams, 8))
    model[:, PHI] = rng.uniform(0, 0.95, streams)
    model[:, NOISE] = rng.uniform(0.01, 0.1, streams)
    model[:, SCALE2] = rng.uniform(0.8, 1.5, streams)
    model[:, WALK] = 1e-4
    model[:, GATE] = rng.uniform(0, 0.05, streams)
    model[:, RESET] = 0.5
    model[:, DELTA_MIN] = 0.0
    model[:, ACTIVE] = 1.0
    columns = np.concatenate([np.ones((ticks, 1)), rng.normal(size=(ticks, p - 1))], axis=1)
    v = rng.uniform(0.01, 0.2, (ticks, streams))
    v[rng.random((ticks, streams)) < 0.1] = np.inf
    hours = np.arange(ticks) * HOUR_US
    y = rng.normal(0, 0.6, (ticks, streams))
    y[ticks // 2 :, 0] += 3.0
    state = start_state(np.zeros((streams, p)), np.ones((streams, p)), model)
    return state, Ticks(hours, hours, np.zeros(ticks, np.int64), columns, y, v)


def _slowly(
    state: FilterState, ticks: Ticks, k: int, live: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, covariance and raw z of one stream with full matrices, evidence left out."""
    model = state.model[k]
    n = state.mean.shape[1]
    mean, cov = state.mean[k].copy(), np.zeros((n, n))
    cov[np.tril_indices(n)] = state.cov[k]
    cov = cov + np.tril(cov, -1).T
    step = np.eye(n)
    step[0, 0] = model[PHI]
    noise = np.zeros((n, n))
    noise[0, 0] = model[NOISE]
    noise[1, 1] = model[WALK] if live else 0.0
    zs = np.full(len(ticks.y), np.nan)
    for t in range(len(ticks.y)):
        if np.isfinite(ticks.v[t, k]):
            h = np.concatenate([[1.0], ticks.columns[t]])
            s = h @ cov @ h + ticks.v[t, k] * model[SCALE2]
            e = ticks.y[t, k] - h @ mean
            zs[t] = e / math.sqrt(s)
            moved = np.full(n, np.clip(e, -3 * math.sqrt(s), 3 * math.sqrt(s)))
            moved[0] = e
            mean = mean + cov @ h / s * moved
            cov = cov - np.outer(cov @ h, cov @ h) / s
        mean = step @ mean
        cov = step @ cov @ step.T + noise
    return mean, cov, zs


@pytest.mark.parametrize("live", [False, True])
def test_packed_recursion_agrees_with_full_matrices(live: bool) -> None:
    state, ticks = _random_case(np.random.default_rng(3), 60, 3, 4)
    before = state.copy()
    z = np.full(ticks.y.shape, np.nan)
    if live:
        state.track[:] = before.track[:] = 1.0
        follow(state, ticks, whole_bet(3, 60, threshold=1e300), short_pace(), z=z)
    else:
        z = learn(state, ticks, short_pace())
    for k in range(3):
        mean, cov, zs = _slowly(before, ticks, k, live)
        assert_allclose(state.mean[k], mean, rtol=1e-9, atol=1e-12)
        assert_allclose(state.cov[k], cov[np.tril_indices(len(cov))], rtol=1e-8, atol=1e-12)
        assert_allclose(z[:, k], zs, rtol=1e-8)


def _pieces(ticks: Ticks, at: slice) -> Ticks:
    return Ticks(
        ticks.start_us[at],
        ticks.clock_us[at],
        ticks.skipped[at],
        ticks.columns[at],
        ticks.y[at],
        ticks.v[at],
    )


def test_a_block_gives_the_same_bits_as_its_ticks_one_by_one() -> None:
    first, ticks = _random_case(np.random.default_rng(8), 120, 4, 5)
    learn(first, _pieces(ticks, slice(0, 40)), short_pace())
    second = first.copy()
    live = _pieces(ticks, slice(40, 120))
    together = follow(first, live, whole_bet(4, 80, threshold=50.0), short_pace())
    apart = []
    for t in range(80):
        one = _pieces(live, slice(t, t + 1))
        found = follow(second, one, whole_bet(4, 1, threshold=50.0), short_pace())
        apart += [(t, *rest) for _, *rest in found]
    assert together == apart
    assert together, "the step of three sd has to be found, or this compares nothing"
    for name, array in first.arrays().items():
        assert_array_equal(array, second.arrays()[name], err_msg=name)


def test_a_skipped_tick_is_an_empty_tick() -> None:
    first, ticks = _random_case(np.random.default_rng(4), 30, 2, 3)
    ticks.v[20:25] = np.inf
    learn(first, _pieces(ticks, slice(0, 15)), short_pace())
    second = first.copy()
    follow(first, _pieces(ticks, slice(15, 30)), whole_bet(2, 15), short_pace())
    kept = np.r_[15:20, 25:30]
    fewer = replace(
        ticks,
        start_us=ticks.start_us[kept],
        clock_us=ticks.clock_us[kept],
        skipped=np.array([0, 0, 0, 0, 0, 5, 0, 0, 0, 0]),
        columns=ticks.columns[kept],
        y=ticks.y[kept],
        v=ticks.v[kept],
    )
    follow(second, fewer, whole_bet(2, 10), short_pace())
    for name, array in first.arrays().items():
        assert_array_equal(array, second.arrays()[name], err_msg=name)


def test_an_empty_tick_neither_bets_nor_injects() -> None:
    state, *_ = run_vector()
    before = state.copy()
    empty = level_ticks(np.zeros((1, 1)), np.full((1, 1), np.inf), first=15)
    assert follow(state, empty, whole_bet(1, 1), short_pace()) == []
    assert_array_equal(state.wealth, before.wealth)
    assert_array_equal(state.track, before.track)
    assert state.mean[0, 0] == pytest.approx(0.8 * before.mean[0, 0])
    assert state.seen_until[0] == before.seen_until[0]


def test_a_stream_that_was_silent_is_credited_its_hours_up_to_a_day() -> None:
    for silent, credited in [(1, 1.0), (5, 5.0), (400, 24.0)]:
        state = level_state(1, phi=0.0, q=0.0)
        learn(state, level_ticks(np.zeros((20, 1)), np.ones((20, 1))), short_pace())
        at = level_ticks(np.zeros((1, 1)), np.ones((1, 1)), first=19 + silent)
        follow(state, at, whole_bet(1, 1), short_pace())
        evalues = [student_t_evalue(0.0, shift, 0.0) for shift in ALTERNATIVES]
        assert_allclose(state.wealth[0], credited * STAKES * np.array(evalues), rtol=1e-9)


def test_weight_that_one_stream_cannot_bet_is_bet_by_the_others_and_never_twice() -> None:
    """What is injected is read off wealth that is never multiplied: bets of no size, E = 1."""
    even = Bets(np.zeros(1), np.ones(1), 0.0, 0.0)
    rng = np.random.default_rng(6)
    ticks, streams, reference = 400, 4, 50
    y = rng.normal(0, 0.1, (reference + ticks, streams))
    v = np.full(y.shape, 0.01)
    live = v[reference:]
    live[100:130, 1] = np.inf  # silent for longer than a day, then back
    live[200:210, 2] = np.inf  # silent for less
    live[250:, 3] = np.inf  # gone
    live[rng.random(live.shape) < 0.1] = np.inf
    state = level_state(streams, phi=0.0, q=0.0, bets=even)
    learn(state, level_ticks(y[:reference], v[:reference]), short_pace())
    state.muted_until[0] = (reference + 40) * HOUR_US
    weight = np.array([0.4, 0.3, 0.2, 0.1])
    betting = Betting(weight, np.full(streams, 1e9), np.zeros(streams, np.int64), np.ones((1, 2)))
    spent = [0.0]
    for t in range(ticks):
        at = slice(reference + t, reference + t + 1)
        follow(state, level_ticks(y[at], v[at], first=reference + t), betting, short_pace(),
               bets=even)  # fmt: skip
        spent.append(float(state.wealth.sum()))
    assert np.all(np.array(spent) <= np.arange(ticks + 1) + 1.0), "never more than an hour an hour"
    assert spent[-1] > 0.95 * ticks, "and hardly anything is lost"
    assert spent[40] > 0.9 * 40, "nor while the stream of most weight is muted"
    back = state.wealth[3, 0]
    at = slice(-1, None)
    follow(state, level_ticks(y[at], np.full((1, streams), 0.01), first=1000), betting,
           short_pace(), bets=even)  # fmt: skip
    assert state.wealth[3, 0] - back <= 24.0 * weight[3] + 1e-9, (
        "what was gone had a day kept for it"
    )


def test_an_alarm_empties_the_account_mutes_the_stream_and_opens_the_level() -> None:
    state = level_state(1, phi=0.0, q=0.0)
    state.model[0, RESET] = 0.7
    learn(state, level_ticks(np.zeros((50, 1)), np.full((50, 1), 0.01)), short_pace())
    y = np.concatenate([np.zeros(10), np.full(30, 0.8)])[:, None]
    wealth = np.full((40, 1), np.nan)
    found = follow(
        state,
        level_ticks(y, np.full((40, 1), 0.01), first=50),
        whole_bet(1, 40, threshold=40.0),
        short_pace(mute_us=10 * HOUR_US),
        wealth=wealth,
    )
    (tick, stream, evidence, onset_us, effect), *later = found
    assert (stream, later) == (0, [])
    assert evidence == pytest.approx(wealth[tick, 0] / 40.0)
    assert evidence >= 1.0
    assert onset_us == 60 * HOUR_US
    assert effect == pytest.approx(0.8, abs=0.1)
    assert np.isnan(wealth[tick + 1 : tick + 10]).all()
    assert wealth[tick + 10, 0] < 1.0
    assert state.mean[0, 1] == pytest.approx(0.8, abs=0.03)


def test_evidence_waits_while_the_estimated_effect_is_too_small_to_matter() -> None:
    def alarms(delta_min: float) -> list[tuple[int, int, float, int, float]]:
        state = level_state(1, phi=0.0, q=0.0)
        state.model[0, DELTA_MIN] = delta_min
        learn(state, level_ticks(np.zeros((50, 1)), np.full((50, 1), 0.01)), short_pace())
        live = level_ticks(np.full((20, 1), 0.8), np.full((20, 1), 0.01), first=50)
        return follow(state, live, whole_bet(1, 20, threshold=40.0), short_pace())

    assert len(alarms(0.3)) >= 1
    assert alarms(1.0) == []


def test_numbers_without_bound_leave_the_state_finite() -> None:
    state, ticks = _random_case(np.random.default_rng(1), 40, 2, 3)
    learn(state, _pieces(ticks, slice(0, 20)), short_pace())
    live = _pieces(ticks, slice(20, 40))
    live.y[:4] = [[1e300, -1e300], [1e308, 1e-300], [np.nan, np.inf], [0.0, 0.0]]
    live.v[4] = 1e-12
    follow(state, live, whole_bet(2, 20), short_pace())
    for name, array in state.arrays().items():
        assert np.isfinite(array).all(), name
