from __future__ import annotations

import numpy as np
import pytest

from detectors.transfer.betting import log_capital, log_capital_of_counts


def test_the_published_vector() -> None:
    d = np.array([0.2, -0.1, 0.4, 0.1, 0.3, -0.2, 0.5, 0.2])
    capital = np.exp(log_capital(d, (0.1, 0.25, 0.5, 0.75)))
    assert capital == pytest.approx(
        [1.08, 1.035575, 1.203298, 1.254566, 1.417161, 1.290042, 1.570554, 1.715153], abs=1e-6
    )


def test_counts_of_a_tick_are_its_credits_in_any_order() -> None:
    rng = np.random.default_rng(1)
    ticks = [rng.choice([-1.0, 0.0, 1.0], 30) for _ in range(5)]
    won = np.array([(t > 0).sum() for t in ticks], dtype=float)
    lost = np.array([(t < 0).sum() for t in ticks], dtype=float)
    ends = np.cumsum([len(t) for t in ticks]) - 1
    one_by_one = log_capital(np.concatenate(ticks))[ends]
    assert log_capital_of_counts(won, lost, 30 - won - lost) == pytest.approx(one_by_one)


def test_capital_rarely_grows_where_there_is_no_preference() -> None:
    """Ville: at most α of histories ever reach 1/α, however often one looks."""
    rng = np.random.default_rng(2)
    paths = rng.choice([-1.0, 1.0], (2_000, 400))
    reached = [log_capital(path).max() >= np.log(1 / 0.05) for path in paths]
    assert np.mean(reached) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2_000)


def test_a_margin_must_be_beaten_before_capital_grows() -> None:
    """52 wins in 100 events is a lead of 4 %: enough against no margin, not against 10 %."""
    won, lost = np.full(300, 52.0), np.full(300, 48.0)
    none = np.zeros(300)
    assert log_capital_of_counts(won, lost, none)[-1] > np.log(20)
    assert log_capital_of_counts(won, lost, none, margin=0.1)[-1] < 0.0


def test_the_bet_on_a_margin_is_a_bet_on_what_exceeds_it() -> None:
    """Credits less the margin, over the most they can then cost."""
    won, lost, ties = np.array([3.0]), np.array([2.0]), np.array([4.0])
    credit = (np.repeat([1.0, -1.0, 0.0], [3, 2, 4]) - 0.2) / 1.2
    found = log_capital_of_counts(won, lost, ties, margin=0.2)[-1]
    assert found == pytest.approx(log_capital(credit)[-1])


def test_a_credit_that_could_cost_more_than_the_stake_is_refused() -> None:
    with pytest.raises(ValueError, match="lie in"):
        log_capital(np.array([0.0, 1.5]))


def test_no_credits_no_capital() -> None:
    assert len(log_capital(np.empty(0))) == 0
