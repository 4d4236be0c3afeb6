"""Rare rates: the binomial law itself is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.special import expit, logit
from scipy.stats import binom

from detectors.evidence.sparse import (
    LEAST_GATE,
    STEPS,
    Counted,
    Steps,
    fit_rates,
    gates,
    is_sparse,
    log_evidence,
)
from detectors.records import FloatArray

NOTHING = Steps(np.zeros(1), np.zeros(1))


def one(events: float, trials: float, expected: float = 0.0) -> Counted:
    return Counted(np.array([events]), np.array([trials]), np.array([expected]))


def ratios(eta: float, gate: float, events: float, trials: float) -> FloatArray:
    edge = np.array([gate])
    logs, _ = log_evidence(np.array([eta]), edge, edge, one(events, trials))
    return np.asarray(logs[0], np.float64)


def test_the_ratio_is_that_of_two_binomial_laws() -> None:
    for events, trials in ((0, 7), (3, 40), (12, 12)):
        found = ratios(-2.0, 0.3, events, trials)
        for step, ratio in zip(STEPS, found, strict=True):
            edge = -2.0 + np.sign(step) * 0.3
            expected = binom.logpmf(events, trials, expit(edge + step)) - binom.logpmf(
                events, trials, expit(edge)
            )
            assert ratio == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("trials", [1, 6, 50])
def test_it_averages_one_at_the_gate_and_less_inside_it(trials: int) -> None:
    events = np.arange(trials + 1)
    every = np.exp([ratios(-3.0, 0.2, float(x), trials) for x in events])
    up = STEPS > 0
    for away, which in ((0.2, up), (-0.2, ~up)):
        law = binom.pmf(events, trials, expit(-3.0 + away))
        assert_allclose(law @ every[:, which], 1.0)
        assert (binom.pmf(events, trials, expit(-3.0)) @ every[:, which] < 1.0).all()
        assert (binom.pmf(events, trials, expit(-3.0 - away)) @ every[:, which] < 1.0).all()


def test_rows_of_different_rates_leave_it_at_most_one() -> None:
    """Scores differ from row to row; the mean rate stands for them (Poisson binomial, by hand)."""
    rates = np.array([0.01, 0.02, 0.4, 0.9, 0.3])
    law = np.ones(1)
    for rate in rates:
        law = np.convolve(law, [1 - rate, rate])
    eta = float(logit(rates.mean()))
    every = np.exp([ratios(eta, 0.0, x, 5) for x in range(6)])
    averages = law @ every
    assert (averages <= 1.0 + 1e-12).all()
    assert averages.min() < 0.9


def test_the_gate_is_the_widest_of_error_odds_and_share() -> None:
    eta = logit(np.array([0.2]))
    assert gates(eta, np.zeros(1), NOTHING)[0] == pytest.approx(LEAST_GATE)
    assert gates(eta, np.array([0.4]), NOTHING)[1] == pytest.approx(0.4)
    steps = Steps(np.array([np.log(1.1)]), np.array([0.05]))
    up, down = gates(eta, np.zeros(1), steps)
    assert expit(eta + up) == pytest.approx(0.25)
    assert expit(eta - down) == pytest.approx(0.15)


def test_a_share_smaller_than_what_matters_cannot_fall_enough_to_matter() -> None:
    eta = logit(np.array([0.002]))
    up, down = gates(eta, np.zeros(1), Steps(np.zeros(1), np.array([0.005])))
    assert down == np.inf
    logs, possible = log_evidence(eta, up, down, one(0, 1_000))
    assert not possible[0, STEPS < 0].any()
    assert (logs[0, STEPS < 0] == 0.0).all()


def test_a_rate_is_rare_by_its_rarer_side() -> None:
    ticks = np.ones((20, 1))
    trials = np.hstack([100 * ticks, 100 * ticks, 100 * ticks, 0 * ticks])
    events = np.hstack([9 * ticks, 91 * ticks, 50 * ticks, 0 * ticks])
    assert is_sparse(events, trials, 12).tolist() == [True, True, False, False]
    assert not is_sparse(events[:11], trials[:11], 12).any()


def test_the_season_of_a_rate_agrees_with_a_penalised_glm() -> None:
    rng = np.random.default_rng(5)
    hours = np.arange(24 * 40)
    columns = np.stack([np.ones(960), np.cos(hours * np.pi / 12), np.sin(hours * np.pi / 12)], 1)
    trials = rng.poisson(60, 960).astype(float)
    events = rng.binomial(trials.astype(int), expit(-3.0 + columns[:, 1] * 0.7)).astype(float)
    counts = Counted(events[:, None], trials[:, None], 0.05 * trials[:, None])
    found = fit_rates(columns, counts, np.array([1.0, 1e3, 1e3]), 24.0, 0.96)
    model = sm.GLM(
        np.stack([events, trials - events], 1),
        columns,
        family=sm.families.Binomial(),
        offset=np.full(960, logit(0.05)),
    ).fit()
    assert_allclose(
        np.concatenate([found.level, found.season[0]]), model.params, atol=2e-3
    )  # the level's prior of sd 2 pulls by less
    assert found.variance[0] == pytest.approx(found.excess[0] * model.cov_params()[0, 0], rel=0.01)
    assert found.excess[0] == pytest.approx(1.0, abs=0.1)
