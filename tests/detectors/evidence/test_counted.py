"""Streams followed by counts inside a bank: budget, mode, alarm, checkpoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from detectors.cells import fit_numeric
from detectors.evidence.bank import Alarm, Bank, advance, advance_block, prime, start_bank
from detectors.evidence.bets import ordered_bets
from detectors.evidence.counted import CountRules, Counts, Following
from detectors.records import HOUR_US, Budget, FloatArray, IntArray
from tests.detectors.evidence.streams import specs_of, starts_of

SIX_HOURS = 6 * HOUR_US


def rare_rates(
    rng: np.random.Generator,
    ticks: int,
    reference: int,
    streams: int,
    *,
    trials: float,
    rate: float,
) -> tuple[Counts, FloatArray, FloatArray]:
    """Counts of `streams` null rates, the reference's own share known from its first ticks."""
    n = rng.poisson(trials, (ticks, streams)).astype(float)
    events = rng.binomial(n.astype(int), rate).astype(float)
    share = np.clip(events[:reference].sum(0) / n[:reference].sum(0), 0.001, 0.999)
    every = np.ones(streams, bool)
    rules = CountRules(every, np.full(streams, np.log(1.1)), np.zeros(streams), every)
    return read(Counts(rules, events, n, n * share))


def read(counts: Counts) -> tuple[Counts, FloatArray, FloatArray]:
    """The counts with the steps of log odds that the filter reads of them."""
    n = np.maximum(counts.trials, 1e-9)
    room = counts.expected / n * (1 - counts.expected / n)
    y = (counts.events - counts.expected) / np.maximum(n * room, 1e-9)
    v = (n * room + 0.25) / np.maximum(n * room, 1e-9) ** 2
    empty = counts.trials == 0
    return counts, np.where(empty, 0.0, y), np.where(empty, np.inf, v)


def primed(counts: Counts, y: FloatArray, v: FloatArray, ticks: int, tick_us: int) -> Bank:
    specs = specs_of(y.shape[1])
    bank = start_bank(specs, tick_us=tick_us, budget=Budget())
    first = slice(0, ticks)
    return prime(bank, starts_of(ticks, tick_us), y[first], v[first], counts.part(first))


def followed(
    bank: Bank, counts: Counts, y: FloatArray, v: FloatArray, since: int
) -> tuple[Bank, list[tuple[int, Alarm]]]:
    later = slice(since, None)
    starts = starts_of(len(y), bank.tick_us)[later]
    bank, found = advance_block(bank, starts, y[later], v[later], counts.part(later))
    return bank, list(found)


def test_rare_rates_keep_the_budget_with_a_reference_that_had_to_be_estimated() -> None:
    """E[alarms] is at most the hours followed over 720, summed over runs of their own reference.

    Each of the 60 runs has one stream that holds the whole budget; 120 days at 6 h after 28.
    """
    rng = np.random.default_rng(4)
    runs, reference, ticks = 60, 112, 592
    counts, y, v = rare_rates(rng, ticks, reference, runs, trials=25.0, rate=0.04)
    bank = primed(counts, y, v, reference, SIX_HOURS)
    whole = replace(bank, plan=replace(bank.plan, weight=np.ones(runs)))
    assert set(bank.counted.following) == {Following.SPARSE}
    _, alarms = followed(whole, counts, y, v, reference)
    allowed = runs * (ticks - reference) * 6 / 720
    assert len(alarms) <= allowed + 3 * np.sqrt(allowed)
    assert allowed == pytest.approx(240)


def test_a_rate_that_rises_is_found_and_told_in_the_units_of_its_stream() -> None:
    rng = np.random.default_rng(6)
    counts, _, _ = rare_rates(rng, 200, 112, 2, trials=40.0, rate=0.05)
    more = counts.events.copy()
    more[150:, 0] = rng.binomial(counts.trials[150:, 0].astype(int), 0.25)
    counts, y, v = read(replace(counts, events=more))
    bank = primed(counts, y, v, 112, SIX_HOURS)
    _, found = followed(bank, counts, y, v, 112)
    (tick, alarm), *_ = found
    assert alarm.stream == 0
    assert 150 - 112 <= tick <= 150 - 112 + 4
    assert alarm.onset_us == starts_of(200, SIX_HOURS)[150]
    # A step of log odds from .05: (.25 - .05) / (.05 x .95).
    assert alarm.effect == pytest.approx(4.2, rel=0.35)


def test_a_tick_at_a_time_gives_the_bits_of_a_block_and_so_does_a_saved_bank() -> None:
    rng = np.random.default_rng(7)
    counts, _, _ = rare_rates(rng, 160, 112, 3, trials=40.0, rate=0.05)
    more = counts.events.copy()
    more[130:, 1] = counts.trials[130:, 1] * 0.3
    counts, y, v = read(replace(counts, events=more))
    bank = primed(counts, y, v, 112, SIX_HOURS)
    block, together = followed(bank, counts, y, v, 112)
    apart = []
    for t, start in enumerate(starts_of(160, SIX_HOURS)[112:]):
        at = slice(112 + t, 113 + t)
        bank = Bank.from_bytes(bank.to_bytes())
        bank, alarms = advance(bank, int(start), y[112 + t], v[112 + t], counts.part(at))
        apart += [(t, alarm) for alarm in alarms]
    assert together == apart
    assert together
    assert block.to_bytes() == bank.to_bytes()


class Rows:
    """One column of normal rows in ticks of `rows`, moved by `shift` from tick `since` on."""

    def __init__(self, rng: np.random.Generator, ticks: int, rows: int, **change: float) -> None:
        reference = rng.normal(size=6_000)
        self.cells = fit_numeric(reference, None)
        order = self.cells.order
        base = self.cells.count(reference, None)[0]
        ranks = self.cells.ranks(self.cells.count(reference, None)) - 0.5
        bets = ordered_bets(base[order], widths=False, tails=False)
        assert bets is not None
        x = rng.normal(size=(ticks, rows))
        x[int(change.get("since", ticks)) :] += change.get("shift", 0.0)
        x += change.get("noise", 0.0) * rng.normal(size=(ticks, 1))
        each = [self.cells.count(row, None)[0][order] for row in x]
        none = np.zeros(1, bool)
        rules = CountRules(none, np.zeros(1), np.zeros(1), none, {0: bets})
        nothing = np.zeros((ticks, 1))
        self.counts = Counts(rules, nothing, nothing, nothing, tuple({0: one} for one in each))
        mean = np.array([one @ ranks[order] for one in each]) / rows
        self.y = mean[:, None] / np.sqrt(1 / 12)
        self.v = np.full((ticks, 1), 1.0 / rows)


def test_rows_are_followed_one_by_one_where_the_audit_allows_it() -> None:
    rng = np.random.default_rng(8)
    rows = Rows(rng, 320, 50, since=270, shift=0.8)
    bank = primed(rows.counts, rows.y, rows.v, 240, SIX_HOURS)
    assert bank.counted.following == (Following.ROW,)
    assert "dispersion" in bank.counted.why[0]
    after, found = followed(bank, rows.counts, rows.y, rows.v, 240)
    (tick, alarm), *_ = found
    assert 30 <= tick <= 31
    assert alarm.effect > 0.3
    assert after.counted.following == (Following.TICK,)
    assert "alarmed" in after.counted.why[0]
    assert after.state is not None
    assert after.state.muted_until[0] > 0


def test_ticks_that_scatter_more_than_their_rows_are_followed_by_ticks() -> None:
    rows = Rows(np.random.default_rng(9), 260, 50, noise=0.3)
    bank = primed(rows.counts, rows.y, rows.v, 240, SIX_HOURS)
    assert bank.counted.following == (Following.TICK,)
    assert "scatter more" in bank.counted.why[0]


def test_a_shift_below_the_practical_effect_never_alarms_however_many_rows() -> None:
    rows = Rows(np.random.default_rng(10), 320, 1_000, since=240, shift=0.06)
    bank = primed(rows.counts, rows.y, rows.v, 240, SIX_HOURS)
    assert bank.counted.following == (Following.ROW,)
    strict = replace(bank, plan=replace(bank.plan, delta_min=np.array([0.1])))
    assert followed(strict, rows.counts, rows.y, rows.v, 240)[1] == []
    assert followed(bank, rows.counts, rows.y, rows.v, 240)[1]


def test_counted_streams_spend_their_weight_once() -> None:
    """What is counted is not bet on by the filter too."""
    rows = Rows(np.random.default_rng(11), 250, 50)
    bank = primed(rows.counts, rows.y, rows.v, 240, SIX_HOURS)
    after, _ = followed(bank, rows.counts, rows.y, rows.v, 240)
    assert after.state is not None
    assert_array_equal(after.state.wealth, 0.0)
    assert after.counted.account.wealth.sum() > 0.0


def test_rows_keep_the_budget_with_cells_that_had_to_be_estimated() -> None:
    """200 streams, each with a reference of 6,000 rows of its own, for 250 ticks of 20 rows."""
    rng = np.random.default_rng(12)
    threshold, ticks, rows, streams = 200.0, 250, 20, 200
    alarms = 0
    for _ in range(streams):
        reference = rng.normal(size=6_000)
        cells = fit_numeric(reference, None)
        bets = ordered_bets(cells.count(reference, None)[0][cells.order])
        assert bets is not None
        wealth = np.zeros(bets.count)
        for _ in range(ticks):
            tick = cells.count(rng.normal(size=rows), None)[0][cells.order]
            wealth = (wealth + bets.every_prior) * np.exp(bets.log_evidence(tick))
            if wealth.sum() >= threshold:
                alarms += 1
                wealth[:] = 0.0
    allowed = streams * ticks / threshold
    assert alarms <= allowed + 3 * np.sqrt(allowed)
    assert alarms > 0.1 * allowed, "a bet that is never won would keep any budget"


def test_a_bank_without_counts_leaves_counted_streams_alone() -> None:
    rows = Rows(np.random.default_rng(13), 250, 50)
    bank = primed(rows.counts, rows.y, rows.v, 240, SIX_HOURS)
    starts: IntArray = starts_of(250, SIX_HOURS)
    after, found = advance_block(bank, starts[240:], rows.y[240:] + 5.0, rows.v[240:])
    assert found == ()
    assert after.counted.following == bank.counted.following


@pytest.mark.parametrize("days", [0, 21])
def test_a_rate_that_has_moved_a_little_does_not_hide_that_it_moves_a_lot(days: int) -> None:
    """From 4 % to 4.6 %, which does not matter, then to 12 %, where odds x 1.5 does."""
    rng = np.random.default_rng(14)
    small, ticks = 112 + 4 * days, 112 + 4 * days + 40
    counts, _, _ = rare_rates(rng, ticks, 112, 1, trials=100.0, rate=0.04)
    rate = np.full((ticks, 1), 0.04)
    rate[112:small], rate[small:] = 0.046, 0.12
    events = counts.events.copy()
    events[112:] = rng.binomial(counts.trials[112:].astype(int), rate[112:])
    rules = replace(counts.rules, odds=np.full(1, np.log(1.5)))
    counts, y, v = read(replace(counts, rules=rules, events=events))
    bank = primed(counts, y, v, 112, SIX_HOURS)
    assert bank.counted.following == (Following.SPARSE,)
    _, found = followed(bank, counts, y, v, 112)
    (tick, alarm), *_ = found
    assert 4 * days <= tick < 4 * days + 24
    assert alarm.effect > 0.0


def test_rows_that_have_moved_a_little_do_not_hide_that_they_move_a_lot() -> None:
    rows = Rows(np.random.default_rng(15), 420, 200, since=240, shift=0.2)
    more = Rows(np.random.default_rng(15), 420, 200, since=240, shift=0.9)
    cells = (*rows.counts.cells[:380], *more.counts.cells[380:])
    counts = replace(rows.counts, cells=cells)
    y = np.concatenate([rows.y[:380], more.y[380:]])
    bank = primed(counts, y, rows.v, 240, SIX_HOURS)
    assert bank.counted.following == (Following.ROW,)
    strict = replace(bank, plan=replace(bank.plan, delta_min=np.array([0.4])))
    (tick, _), *_ = followed(strict, counts, y, rows.v, 240)[1]
    assert 140 <= tick <= 144
    assert followed(strict, rows.counts, rows.y, rows.v, 240)[1] == []
