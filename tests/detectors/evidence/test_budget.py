"""The one knob: what goes in is what false alarms can cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.signal import lfilter

from detectors.evidence.budget import Plan, pace_of
from detectors.evidence.design import Design
from detectors.evidence.filter import follow, inject, learn, restart
from detectors.evidence.state import NOISE, PHI, Betting, Ticks
from detectors.records import DAY_US, HOUR_US, Budget, Stream, StreamSpec, Tier
from tests.detectors.evidence.published import level_state
from tests.detectors.evidence.streams import specs_of

OUTCOMES = [1, 0, 1, 1, 0, 1, 1, 1, 0, 1]


def test_wealth_and_cusum_agree_with_the_published_betting_vector() -> None:
    wealth, runs = [0.0] * 3, [0.0] * 3
    mean_wealth, mean_runs = [], []
    for x in OUTCOMES:
        evalues = [1 + bet * (x - 0.3) for bet in (0.5, 1.0, 2.0)]
        wealth = [inject(m, 1.0, e) for m, e in zip(wealth, evalues, strict=True)]
        runs = [restart(m, e) for m, e in zip(runs, evalues, strict=True)]
        mean_wealth.append(np.mean(wealth))
        mean_runs.append(np.mean(runs))
    assert_allclose(
        mean_wealth,
        [1.816667, 1.749167, 4.874542, 10.952881, 7.058304,
         14.627069, 29.845793, 61.812106, 33.421905, 67.271328],
        atol=5e-7,
    )  # fmt: skip
    first, *rest = mean_runs
    assert first == pytest.approx(1.816667, abs=5e-7)
    assert rest[0] == pytest.approx(1.099167, abs=5e-7)


def test_with_the_true_model_false_alarms_stay_within_what_was_injected() -> None:
    """Correlated t5 streams, true φ and noise: E[N] ≤ H·Σw / A. Empty ticks among them."""
    rng = np.random.default_rng(11)
    streams, hours, phi, q, threshold, runs = 10, 1500, 0.7, 0.5, 60.0, 24
    counts = []
    for _ in range(runs):
        common = rng.standard_t(5, (hours + 200, 1))
        shocks = math.sqrt(0.5) * (common + rng.standard_t(5, (hours + 200, streams)))
        y = lfilter([1.0], [1.0, -phi], shocks * math.sqrt(q), axis=0)
        v = np.full(y.shape, 1e-9)
        v[rng.random(y.shape) < 0.05] = np.inf
        state = level_state(streams, phi=phi, q=q)
        state.cov[:, 2] = 0.0  # the level is known, as the theorem asks
        clock = np.arange(hours + 200, dtype=np.int64) * HOUR_US
        skipped = np.zeros(hours + 200, np.int64)
        ticks = Ticks(clock, clock, skipped, np.ones((hours + 200, 1)), y, v)
        pace = pace_of(Design(HOUR_US))
        learn(state, _cut(ticks, slice(0, 200)), pace)
        betting = Betting(
            np.full(streams, 1 / streams),
            np.full(streams, threshold),
            np.zeros(streams, np.int64),
            np.ones((hours, 2)),
        )
        counts.append(len(follow(state, _cut(ticks, slice(200, None)), betting, pace)))
        assert state.model[0, PHI] == phi
        assert state.model[0, NOISE] == q
    allowed = hours / threshold
    error = np.std(counts, ddof=1) / math.sqrt(runs)
    assert np.mean(counts) <= allowed + 3 * error
    assert np.mean(counts) > 0.02 * allowed, "a bound that is never approached tests nothing"


def _cut(ticks: Ticks, at: slice) -> Ticks:
    return Ticks(
        ticks.start_us[at],
        ticks.clock_us[at],
        ticks.skipped[at],
        ticks.columns[at],
        ticks.y[at],
        ticks.v[at],
    )


def test_a_ticket_needs_a_tenth_of_a_page_s_evidence() -> None:
    specs = [*specs_of(1), *specs_of(1, Tier.TICKET)]
    plan = Plan.of(specs, Budget(pages=2.0, period_hours=720.0, ticket_factor=10.0))
    assert_allclose(plan.threshold, [360.0, 36.0])
    assert plan.tier.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("weights", "delta_min", "said"),
    [
        ([0.6, 0.6], 0.1, "weights of tier page add up to 1.2"),
        ([-0.1], 0.1, "weight of stream loss.mean is -0.1"),
        ([1.0], float("nan"), "delta_min of stream loss.mean is nan"),
    ],
)
def test_a_plan_that_overspends_is_refused(
    weights: list[float], delta_min: float, said: str
) -> None:
    stream = Stream("loss", "mean", Tier.PAGE)
    with pytest.raises(ValueError, match=said):
        Plan.of([StreamSpec(stream, weight, delta_min) for weight in weights], Budget())


@pytest.mark.parametrize(
    ("tick_us", "tick_hours", "mute_us", "window"),
    [
        (HOUR_US, 1.0, 7 * DAY_US, 24.0),
        (6 * HOUR_US, 6.0, 7 * DAY_US, 8.0),
        (DAY_US, 24.0, 14 * DAY_US, 8.0),
        (0, 1.0, 14 * HOUR_US, 24.0),
    ],
)
def test_memories_and_muting_follow_the_tick(
    tick_us: int, tick_hours: float, mute_us: int, window: float
) -> None:
    pace = pace_of(Design(tick_us))
    assert (pace.tick_hours, pace.mute_us) == (tick_hours, mute_us)
    assert pace.sum_decay == pytest.approx(1 - 1 / window)
    assert (1 - pace.scale_rate) ** (14 * Design(tick_us).ticks_per_day) == pytest.approx(0.5)
