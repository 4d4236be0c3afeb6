"""A benefit that goes is seen against the level of onboarding, and one that stays is not."""

import numpy as np
import pytest

from benchmarks.faults.erosion import BENEFIT, CHANGE, LIVE, REFERENCE, STEP, days, sums_of, tickets
from detectors.transfer.eroding import FEWEST_DAYS, MOST_Z, ONBOARDING_DAYS, SIZES, eroding


def test_wealth_is_the_definition_written_slowly() -> None:
    """One alternative after another, day by day, each scaled by the days before it."""
    means = days(None, np.random.default_rng(1))[:40]
    sums = sums_of(means)
    found = eroding(sums, onboarding=(-BENEFIT, 0.0), step=STEP, weight=0.1, threshold_hours=1e9)
    from detectors.transfer.dependence import long_run_factors

    factors = long_run_factors(means)
    wealth = [0.0] * len(SIZES)
    for day in range(FEWEST_DAYS, 40):
        before = means[:day]
        of_days = before.var(ddof=1)
        of_rows = (0.4**2 + (before**2).mean() - before.mean() ** 2) / 100.0
        scale = np.sqrt(max(of_days, of_rows) * factors[day - 1])
        z = min((means[day] + BENEFIT - STEP) / scale, MOST_Z)
        wealth = [
            (m + 0.1 * 24.0) * np.exp(size * z - size**2 / 2)
            for m, size in zip(wealth, SIZES, strict=True)
        ]
        assert found.evidence[day] * 1e9 == pytest.approx(np.mean(wealth), rel=1e-6)


def test_no_day_decides_how_earlier_ones_were_read() -> None:
    means = days(0.5, np.random.default_rng(2))
    whole = eroding(sums_of(means), onboarding=None, step=STEP, weight=0.1, threshold_hours=72.0)
    part = eroding(
        sums_of(means[:90]), onboarding=None, step=STEP, weight=0.1, threshold_hours=72.0
    )
    assert whole.evidence[:90].tolist() == part.evidence.tolist()
    assert not whole.evidence[:ONBOARDING_DAYS].any()


def test_an_average_bet_on_a_day_at_the_limit_does_not_win() -> None:
    """E of each alternative, clipped at three sd, is at most 1 on average: by quadrature."""
    z = np.linspace(-12.0, 12.0, 200_001)
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    for size in SIZES:
        bet = np.exp(size * np.minimum(z, MOST_Z) - size**2 / 2)
        assert np.trapezoid(bet * density, z) <= 1.0


@pytest.mark.parametrize("with_reference", [True, False])
def test_a_slide_files_a_ticket_and_a_quiet_benefit_stays_within_its_share(
    with_reference: bool,
) -> None:
    """Forty histories with dependent days; the share is one ticket in 30 days."""
    rng, quiet, found = np.random.default_rng(3), 0, 0
    slide = BENEFIT * np.clip((np.arange(-REFERENCE, LIVE) - CHANGE) / 90.0, 0.0, 1.0)
    for _ in range(40):
        means = days(0.3, rng)
        quiet += len(tickets(means, with_reference))
        found += any(day >= CHANGE for day in tickets(means + slide, with_reference))
    assert quiet * 30.0 / (40 * LIVE) <= 0.5
    assert found >= 28
