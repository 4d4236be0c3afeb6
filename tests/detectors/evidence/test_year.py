"""Harmonics of the year, where the reference has seen it."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.evidence.bank import Bank, advance_block, prime, start_bank
from detectors.evidence.design import Design
from detectors.records import DAY_US, Budget, FloatArray, Stream, StreamSpec, Tier

FIRST_US = 1_600_000_000_000_000 // DAY_US * DAY_US
YEAR = 365.2425


def season(days: int) -> FloatArray:
    """Summer and winter are five sd of the noise apart."""
    rng = np.random.default_rng(4)
    turn = 2 * np.pi * (FIRST_US / DAY_US + np.arange(days)) / YEAR
    values: FloatArray = 2.5 * np.cos(turn - 1.0) + rng.normal(0, 1, days)
    return values


def bank_of(y: FloatArray, cut: int, *, yearly: bool) -> Bank:
    specs = [StreamSpec(Stream("column", "location", Tier.TICKET, "x"), 1.0, 0.0)]
    budget = Budget(pages=0.02, ticket_factor=1.0)
    bank = start_bank(specs, tick_us=DAY_US, budget=budget, yearly=yearly, level_walk=0.0)
    return prime(bank, days_us(0, cut), y[:cut, None], np.ones((cut, 1)))


def days_us(first: int, until: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return FIRST_US + np.arange(first, until, dtype=np.int64) * DAY_US


def alarms(bank: Bank, y: FloatArray, cut: int) -> int:
    live = days_us(cut, len(y))
    _, found = advance_block(bank, live, y[cut:, None], np.ones((len(live), 1)))
    return len(found)


def test_the_regressors_are_the_first_two_harmonics_of_a_gregorian_year() -> None:
    """A year later they are the same; over a year they are orthogonal to the level."""
    design = Design(DAY_US, yearly=True)
    starts = days_us(0, 1462)
    columns = design.columns(starts)
    assert columns.shape[1] == design.width == Design(DAY_US).width + 4
    year = columns[:, -4:]
    assert year[1461] == pytest.approx(year[0], abs=2e-3)
    assert year[:1461].mean(axis=0) == pytest.approx(0.0, abs=1e-3)
    assert (year[:1461] ** 2).mean(axis=0) == pytest.approx(0.5, abs=1e-3)
    assert design.prior_sd(np.array([3.0]))[0, -4:] == pytest.approx([3.0, 3.0, 1.5, 1.5])


def test_a_year_that_was_seen_is_no_slow_change_and_a_step_on_top_of_it_is() -> None:
    """Without the year in the model memory swallows it, and the step with it."""
    y = season(900)
    stepped = y + np.where(np.arange(900) >= 600, 3.0, 0.0)
    knows = bank_of(y, 500, yearly=True)
    assert alarms(knows, y, 500) == 0
    assert alarms(knows, stepped, 500) > 0
    assert alarms(bank_of(y, 500, yearly=False), stepped, 500) == 0
