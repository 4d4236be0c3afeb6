"""A domain grows up: warming, provisional, guaranteed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from detectors.evidence.bank import Bank, advance_block, prime, start_bank
from detectors.evidence.fleet import FleetPrior, fleet_prior
from detectors.evidence.grids import PHI_GRID
from detectors.evidence.young import REFITS_US, maturity_at, shares_at
from detectors.records import DAY_US, HOUR_US, Budget, Maturity, Tier
from tests.detectors.evidence.streams import specs_of, starts_of, wandering_streams


@pytest.mark.parametrize(
    ("hours", "state"),
    [
        (0, Maturity.WARMING),
        (47, Maturity.WARMING),
        (48, Maturity.PROVISIONAL),
        (335, Maturity.PROVISIONAL),
        (336, Maturity.GUARANTEED),
    ],
)
def test_states_follow_the_span_of_event_time(hours: int, state: Maturity) -> None:
    assert maturity_at(hours * HOUR_US) is state


def test_injection_grows_with_age_and_pages_wait_for_two_weeks_or_one_with_a_fleet() -> None:
    ages = np.array([47, 48, 168, 335, 336, 900]) * HOUR_US
    alone = shares_at(ages, fleet=False)
    assert_allclose(alone[:, 0], [0, 0, 0, 0, 1, 1])
    assert_allclose(alone[:, 1], [0, 48 / 336, 0.5, 335 / 336, 1, 1])
    lent = shares_at(ages, fleet=True)
    assert_allclose(lent[:, 0], [0, 0, 0.5, 335 / 336, 1, 1])
    assert_allclose(lent[:, 1], alone[:, 1])


def _young(
    *, tier: Tier, prior: FleetPrior | None, step_at: int
) -> tuple[Bank, list[tuple[int, int]]]:
    """Eighteen days from nothing with a step of twelve noise sd in stream 0."""
    y, v = wandering_streams(np.random.default_rng(21), 72, 2, phi=0.2, sd=0.02)
    y[step_at:, 0] += 1.2
    bank = start_bank(specs_of(2, tier), tick_us=6 * HOUR_US, budget=Budget(), prior=prior)
    bank, alarms = advance_block(bank, starts_of(72, 6 * HOUR_US), y, v)
    return bank, [(tick, alarm.stream) for tick, alarm in alarms]


FLEET = FleetPrior(6 * HOUR_US, np.full(len(PHI_GRID), 1 / len(PHI_GRID)))


def test_a_young_domain_alone_files_tickets_and_pages_nobody() -> None:
    _, pages = _young(tier=Tier.PAGE, prior=None, step_at=32)
    _, tickets = _young(tier=Tier.TICKET, prior=None, step_at=32)
    _, lent = _young(tier=Tier.PAGE, prior=FLEET, step_at=32)
    assert pages == []
    assert 32 <= tickets[0][0] < 40
    assert 32 <= lent[0][0] < 44


def test_nothing_is_bet_in_the_first_two_days() -> None:
    _, tickets = _young(tier=Tier.TICKET, prior=FLEET, step_at=5)
    assert all(tick >= 8 for tick, _ in tickets)


def test_pages_begin_once_two_weeks_are_full() -> None:
    bank, pages = _young(tier=Tier.PAGE, prior=None, step_at=60)
    assert bank.maturity is Maturity.GUARANTEED
    assert 60 <= pages[0][0] < 66


def test_the_promise_says_how_old_a_domain_is() -> None:
    y, v = wandering_streams(np.random.default_rng(22), 72, 2, phi=0.0)
    bank = start_bank(specs_of(2), tick_us=6 * HOUR_US, budget=Budget())
    said = []
    for t, start in enumerate(starts_of(72, 6 * HOUR_US)):
        bank, _ = advance_block(bank, np.array([start]), y[t : t + 1], v[t : t + 1])
        said.append((bank.maturity, bank.guaranteed))
    assert said[0] == (Maturity.WARMING, False)
    assert said[7] == (Maturity.PROVISIONAL, False)
    assert said[54] == (Maturity.PROVISIONAL, False)
    assert said[55][0] is Maturity.GUARANTEED
    assert "days of event time so far" not in bank.why_not


def test_age_counts_the_reference_and_starts_with_the_first_data() -> None:
    y, v = wandering_streams(np.random.default_rng(23), 44, 1, phi=0.0)
    v[:4] = np.inf
    v[40:] = np.inf
    bank = start_bank(specs_of(1), tick_us=6 * HOUR_US, budget=Budget())
    bank = prime(bank, starts_of(44, 6 * HOUR_US)[:20], y[:20], v[:20])
    assert bank.age_us == 16 * 6 * HOUR_US
    bank, _ = advance_block(bank, starts_of(44, 6 * HOUR_US)[20:], y[20:], v[20:])
    assert bank.age_us == 36 * 6 * HOUR_US


def test_fits_fall_on_their_days_and_the_ticks_are_let_go_after_the_last() -> None:
    y, v = wandering_streams(np.random.default_rng(24), 240, 2, phi=0.5)
    bank = start_bank(specs_of(2), tick_us=6 * HOUR_US, budget=Budget())
    fitted = []
    for t, start in enumerate(starts_of(240, 6 * HOUR_US)):
        before = bank.phi_weights
        bank, _ = advance_block(bank, np.array([start]), y[t : t + 1], v[t : t + 1])
        if bank.phi_weights is not before:
            fitted.append(bank.age_us)
    assert fitted == list(REFITS_US)
    assert bank.history == ()


def test_a_stream_that_alarmed_keeps_its_fit_after_two_weeks() -> None:
    y, v = wandering_streams(np.random.default_rng(25), 116, 2, phi=0.2)
    y[80:, 0] += 2.0
    starts = starts_of(116, 6 * HOUR_US)
    bank = start_bank(specs_of(2), tick_us=6 * HOUR_US, budget=Budget())
    bank = prime(bank, starts[:60], y[:60], v[:60])
    after, alarms = advance_block(bank, starts[60:], y[60:], v[60:])
    assert {alarm.stream for _, alarm in alarms} == {0}
    assert after.age_us >= 28 * DAY_US
    assert bank.state is not None
    assert after.state is not None
    assert_array_equal(after.state.model[0], bank.state.model[0])
    assert not np.array_equal(after.phi_weights[1], bank.phi_weights[1])


def test_a_fleet_lends_its_memory_and_its_seasons() -> None:
    banks = []
    rng = np.random.default_rng(26)
    for _ in range(3):
        y, v = wandering_streams(rng, 120, 2, phi=0.9, sd=0.5)
        y += 0.4 * np.cos(2 * np.pi * np.arange(120) / 4)[:, None]
        bank = start_bank(specs_of(2), tick_us=6 * HOUR_US, budget=Budget())
        banks.append(prime(bank, starts_of(120, 6 * HOUR_US), y, v))
    prior = fleet_prior(banks)
    assert prior is not None
    assert prior.phi_weights.sum() == pytest.approx(1.0)
    assert float(prior.phi_weights @ PHI_GRID) > float(PHI_GRID.mean())
    assert prior.phi_weights.min() >= 0.3 / len(PHI_GRID) - 1e-9
    centre, variance = prior.season[specs_of(2)[0].stream.id]
    assert centre[0] == pytest.approx(0.4, abs=0.1)
    assert variance[0] < 0.02
    lent = start_bank(specs_of(2), tick_us=6 * HOUR_US, budget=Budget(), prior=prior)
    saved = Bank.from_bytes(lent.to_bytes())
    assert saved.to_bytes() == lent.to_bytes()
    assert fleet_prior([lent]) is None
    with pytest.raises(ValueError, match="fleet prior of 21600000000 us"):
        start_bank(specs_of(2), tick_us=HOUR_US, budget=Budget(), prior=prior)


def test_evidence_and_muting_outlive_a_fit() -> None:
    y, v = wandering_streams(np.random.default_rng(27), 56, 2, phi=0.0, sd=0.0)
    y[46:, 0] += 2.0
    bank = start_bank(specs_of(2, Tier.TICKET), tick_us=6 * HOUR_US, budget=Budget())
    starts = starts_of(56, 6 * HOUR_US)
    before, alarms = advance_block(bank, starts[:55], y[:55], v[:55])
    ((tick, alarm),) = alarms
    after, _ = advance_block(before, starts[55:], y[55:], v[55:])
    assert before.state is not None
    assert after.state is not None
    assert after.phi_weights is not before.phi_weights, "a fit was due at 14 days"
    assert alarm.stream == 0
    assert after.state.muted_until[0] == int(starts[tick]) + 7 * DAY_US
    assert after.state.muted_until[1] <= starts[16], "muted only until it could bet at all"
    assert 0 < after.state.wealth[1].sum() < before.state.wealth[1].sum() + 6 * 14
    assert after.state.wealth[0].sum() == 0.0
