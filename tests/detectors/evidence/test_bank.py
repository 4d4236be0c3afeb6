"""Banks as values: the same ticks give the same alarms, however they come."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from detectors.evidence.bank import (
    ENGINE_VERSION,
    Alarm,
    Bank,
    advance,
    advance_block,
    prime,
    start_bank,
)
from detectors.evidence.state import PHI
from detectors.records import DAY_US, HOUR_US, Budget, FloatArray, Tier
from tests.detectors.evidence.streams import MONDAY_US, specs_of, starts_of, wandering_streams

BUDGET = Budget()


def primed(
    y: FloatArray, v: FloatArray, *, tick_us: int = 6 * HOUR_US, delta_min: float = 0.0
) -> Bank:
    specs = specs_of(y.shape[1], delta_min=delta_min)
    bank = start_bank(specs, tick_us=tick_us, budget=BUDGET)
    return prime(bank, starts_of(len(y), tick_us), y, v)


def one_by_one(
    bank: Bank, starts: np.ndarray[tuple[int], np.dtype[np.int64]], y: FloatArray, v: FloatArray
) -> tuple[Bank, list[tuple[int, Alarm]]]:
    found = []
    for t, start in enumerate(starts):
        bank, alarms = advance(bank, int(start), y[t], v[t])
        found += [(t, alarm) for alarm in alarms]
    return bank, found


def test_ticks_one_by_one_and_in_blocks_give_the_same_bank_from_its_first_day_on() -> None:
    """Sixty days from nothing: all six scheduled fits fall on the way."""
    rng = np.random.default_rng(2)
    y, v = wandering_streams(rng, 244, 3, phi=0.5)
    y[170:, 1] += 1.0
    v[30:33] = np.inf
    starts = starts_of(244, 6 * HOUR_US)
    empty = start_bank(specs_of(3), tick_us=6 * HOUR_US, budget=BUDGET)
    first, together = advance_block(empty, starts, y, v)
    second, apart = one_by_one(empty, starts, y, v)
    assert list(together) == apart
    assert 1 in {alarm.stream for _, alarm in together}
    assert first.to_bytes() == second.to_bytes()
    assert not first.history


def test_a_saved_bank_goes_on_with_the_same_bits() -> None:
    rng = np.random.default_rng(3)
    y, v = wandering_streams(rng, 130, 4, phi=0.6)
    y[90:, 2] -= 1.0
    bank = primed(y[:60], v[:60])
    starts = starts_of(130, 6 * HOUR_US)[60:]
    kept, kept_alarms = advance_block(bank, starts, y[60:], v[60:])
    alarms: list[tuple[int, Alarm]] = []
    for t in range(70):
        bank = Bank.from_bytes(bank.to_bytes())
        bank, found = advance(bank, int(starts[t]), y[60 + t], v[60 + t])
        alarms += [(t, alarm) for alarm in found]
    assert alarms == list(kept_alarms)
    assert alarms
    assert bank.to_bytes() == kept.to_bytes()


def test_bytes_that_are_no_bank_or_of_another_engine_are_refused() -> None:
    bank = start_bank(specs_of(1), tick_us=HOUR_US, budget=BUDGET)
    blob = bank.to_bytes()
    for damaged in (b"", blob[:-3], b"\x80" + blob, b"not a bank"):
        with pytest.raises(ValueError, match="not a saved bank"):
            Bank.from_bytes(damaged)
    older = blob.replace(b"engine" + bytes([ENGINE_VERSION]), b"engine" + bytes([0]))
    with pytest.raises(ValueError, match="engine 0"):
        Bank.from_bytes(older)


def test_advancing_leaves_the_bank_before_as_it_was() -> None:
    y, v = wandering_streams(np.random.default_rng(4), 80, 2, phi=0.3)
    bank = primed(y[:70], v[:70])
    blob = bank.to_bytes()
    advance_block(bank, starts_of(80, 6 * HOUR_US)[70:], y[70:], v[70:])
    assert bank.to_bytes() == blob


def test_the_order_of_streams_does_not_matter() -> None:
    y, v = wandering_streams(np.random.default_rng(5), 160, 4, phi=0.6)
    y[120:, 3] += 1.0
    turned = [2, 0, 3, 1]
    starts = starts_of(160, 6 * HOUR_US)[80:]
    straight, alarms = advance_block(primed(y[:80], v[:80]), starts, y[80:], v[80:])
    other, turned_alarms = advance_block(
        primed(y[:80, turned], v[:80, turned]), starts, y[80:, turned], v[80:, turned]
    )
    assert alarms
    assert [(t, a.stream) for t, a in alarms] == [(t, turned[a.stream]) for t, a in turned_alarms]
    assert straight.state is not None
    assert other.state is not None
    assert_allclose(other.state.wealth, straight.state.wealth[turned], rtol=1e-9)


def test_a_large_step_is_found_soon_with_its_onset_and_size() -> None:
    y, v = wandering_streams(np.random.default_rng(6), 700, 5, phi=0.5)
    y[680:, 4] += 1.2
    bank = primed(y[:672], v[:672], tick_us=HOUR_US)
    starts = starts_of(700, HOUR_US)
    _, alarms = advance_block(bank, starts[672:], y[672:], v[672:])
    ((tick, alarm),) = alarms
    assert alarm.stream == 4
    assert alarm.tier is Tier.PAGE
    assert 8 <= tick <= 12
    assert alarm.evidence >= 1.0
    assert alarm.onset_us == starts[680]
    assert alarm.effect == pytest.approx(1.2, abs=0.3)


@pytest.mark.parametrize("phi", [0.0, 0.6])
@pytest.mark.parametrize("tick_us", [HOUR_US, DAY_US])
def test_a_step_below_the_practical_effect_never_alarms_however_many_rows(
    phi: float, tick_us: int
) -> None:
    """Sampling variance close to nothing; the step is three noise sd and half of delta_min."""
    rng = np.random.default_rng(7)
    y, _ = wandering_streams(rng, 400, 4, phi=phi, sd=0.01)
    y = y * 0.01
    v = np.full(y.shape, 1e-8)
    y[300:] += 0.05
    starts = starts_of(400, tick_us)

    def alarms(delta_min: float) -> int:
        bank = start_bank(
            specs_of(4, Tier.TICKET, delta_min=delta_min), tick_us=tick_us, budget=BUDGET
        )
        bank = prime(bank, starts[:280], y[:280], v[:280])
        return len(advance_block(bank, starts[280:], y[280:], v[280:])[1])

    assert alarms(0.1) == 0
    assert alarms(0.0) > 0


TICKS = {"hour": HOUR_US, "six hours": 6 * HOUR_US, "day": DAY_US, "rows": 0}


@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize(
    ("reference", "value", "variance", "streams"),
    [
        (100, 1.0, 0.01, 2),
        (100, 1.0, 0.0, 2),
        (100, 0.0, np.inf, 2),
        (100, np.nan, 1.0, 2),
        (1, 0.5, 1.0, 2),
        (0, 0.5, 1.0, 2),
        (20, 1e12, 1.0, 1),
        (100, 0.0, 1.0, 0),
    ],
    ids=["constant", "no variance", "empty", "nan", "one tick", "nothing", "huge", "no streams"],
)
def test_degenerate_references_never_page_and_stay_finite(
    tick: str, reference: int, value: float, variance: float, streams: int
) -> None:
    tick_us = TICKS[tick]
    starts = starts_of(reference + 200, tick_us or 1)
    y = np.full((reference + 200, streams), value)
    v = np.full_like(y, variance)
    bank = start_bank(specs_of(streams), tick_us=tick_us, budget=BUDGET)
    bank = prime(bank, starts[:reference], y[:reference], v[:reference])
    bank, alarms = advance_block(bank, starts[reference:], y[reference:], v[reference:])
    assert alarms == ()
    if bank.state is not None:
        for name, array in bank.state.arrays().items():
            assert np.isfinite(array).all(), name
    assert Bank.from_bytes(bank.to_bytes()).to_bytes() == bank.to_bytes()


@pytest.mark.parametrize("reference", [20, 60])
def test_few_reference_ticks_never_page(reference: int) -> None:
    y, v = wandering_streams(np.random.default_rng(8), reference + 100, 3, phi=0.9, sd=1.0)
    starts = starts_of(reference + 100, HOUR_US)
    bank = primed(y[:reference], v[:reference], tick_us=HOUR_US)
    _, alarms = advance_block(bank, starts[reference:], y[reference:], v[reference:])
    assert alarms == ()


def test_a_stream_with_hardly_any_data_never_bets() -> None:
    y, v = wandering_streams(np.random.default_rng(9), 300, 2, phi=0.2)
    v[:200, 1] = np.inf
    v[5:15, 1] = 0.01
    y[200:] += 3.0
    bank = primed(y[:200], v[:200])
    _, alarms = advance_block(bank, starts_of(300, 6 * HOUR_US)[200:], y[200:], v[200:])
    assert {alarm.stream for _, alarm in alarms} == {0}


def test_after_an_alarm_a_stream_is_quiet_for_a_week_of_event_time() -> None:
    y, v = wandering_streams(np.random.default_rng(10), 160, 1, phi=0.0)
    y[112:] += np.where(np.arange(48) // 8 % 2 == 0, 2.0, -2.0)[:, None]
    bank = primed(y[:112], v[:112])
    _, alarms = advance_block(bank, starts_of(160, 6 * HOUR_US)[112:], y[112:], v[112:])
    ticks = [tick for tick, _ in alarms]
    assert ticks[0] <= 2
    assert all(later - earlier >= 28 for earlier, later in pairwise(ticks))


def test_a_gap_in_the_calls_is_a_run_of_empty_ticks() -> None:
    y, v = wandering_streams(np.random.default_rng(11), 130, 2, phi=0.8)
    v[112:120] = np.inf
    starts = starts_of(130, 6 * HOUR_US)
    bank = primed(y[:110], v[:110])
    filled, _ = advance_block(bank, starts[110:], y[110:], v[110:])
    kept = np.r_[110:112, 120:130]
    gapped, _ = advance_block(bank, starts[kept], y[kept], v[kept])
    assert filled.state is not None
    assert gapped.state is not None
    for name, array in filled.state.arrays().items():
        assert_array_equal(array, gapped.state.arrays()[name], err_msg=name)


def test_ticks_out_of_order_or_of_the_wrong_shape_are_refused() -> None:
    y, v = wandering_streams(np.random.default_rng(12), 60, 2, phi=0.0)
    starts = starts_of(60, 6 * HOUR_US)
    bank, _ = advance(primed(y[:58], v[:58]), int(starts[58]), y[58], v[58])
    with pytest.raises(ValueError, match="in order"):
        advance(bank, int(starts[58]), y[58], v[58])
    with pytest.raises(ValueError, match=r"1 ticks of 2 streams fit"):
        advance(bank, int(starts[59]), y[59, :1], v[59, :1])
    with pytest.raises(ValueError, match="below 0"):
        advance(bank, int(starts[59]), y[59], -v[59])
    with pytest.raises(ValueError, match="already follows live ticks"):
        prime(bank, starts[59:], y[59:], v[59:])
    start = start_bank(specs_of(2), tick_us=HOUR_US, budget=BUDGET)
    with pytest.raises(ValueError, match="in order"):
        prime(start, starts[[1, 0]], y[:2], v[:2])


def test_a_reference_may_come_in_parts_until_its_ticks_are_let_go() -> None:
    y, v = wandering_streams(np.random.default_rng(18), 70, 2, phi=0.3)
    starts = starts_of(70, 6 * HOUR_US)
    bank = start_bank(specs_of(2), tick_us=6 * HOUR_US, budget=BUDGET)
    parts = prime(prime(bank, starts[:30], y[:30], v[:30]), starts[30:], y[30:], v[30:])
    assert parts.to_bytes() == primed(y, v).to_bytes()
    days, w = wandering_streams(np.random.default_rng(18), 70, 2, phi=0.3)
    whole = primed(days[:60], w[:60], tick_us=DAY_US)
    with pytest.raises(ValueError, match="all its ticks in one call"):
        prime(whole, starts_of(70, DAY_US)[60:], days[60:], w[60:])


def test_a_first_live_tick_inside_the_reference_follows_it_directly() -> None:
    y, v = wandering_streams(np.random.default_rng(13), 62, 2, phi=0.4)
    starts = starts_of(62, 6 * HOUR_US)
    bank = primed(y[:60], v[:60])
    inside, _ = advance(bank, int(starts[59]), y[60], v[60])
    after, _ = advance(bank, int(starts[60]), y[60], v[60])
    assert inside.state is not None
    assert after.state is not None
    # the weekend regressor may differ; the account may not run wild
    assert_allclose(inside.state.wealth, after.state.wealth, atol=0.5)


def test_hot_state_is_small() -> None:
    rng = np.random.default_rng(14)
    for tick_us, ticks, most in [(HOUR_US, 400, 4096), (6 * HOUR_US, 80, 1024), (DAY_US, 30, 1024)]:
        y, v = wandering_streams(rng, ticks, 2, phi=0.3)
        bank = primed(y, v, tick_us=tick_us)
        assert bank.state is not None
        small = replace(bank, history=())
        assert bank.state.bytes_per_stream + 14 * 4 + 1 <= most
        assert len(small.to_bytes()) / 2 < most + 700  # names and settings, once a bank


def test_holidays_count_a_quarter_on_the_day_and_the_day_after() -> None:
    independence_us = 20_638 * DAY_US  # 2026-07-04, a Saturday; observed on Friday the 3rd
    starts = starts_of(5, DAY_US, first_us=independence_us - 2 * DAY_US)
    bank = start_bank(specs_of(1), tick_us=DAY_US, budget=BUDGET, holidays="US")
    bank = prime(bank, starts, np.zeros((5, 1)), np.ones((5, 1)))
    with_calendar = bank.history[0].v if bank.history else None
    assert with_calendar is not None
    assert with_calendar[:, 0].tolist() == [1.0, 4.0, 4.0, 4.0, 1.0]
    with pytest.raises(ValueError, match="no holiday calendar for 'ZZ'"):
        start_bank(specs_of(1), tick_us=DAY_US, budget=BUDGET, holidays="ZZ")


def test_a_wandering_reference_takes_the_promise_back() -> None:
    rng = np.random.default_rng(15)
    y, v = wandering_streams(rng, 400, 3, phi=0.999, sd=3.0)
    bank = primed(y, v, tick_us=HOUR_US)
    assert bank.state is not None
    assert (bank.state.model[:, PHI] >= 0.95).all()
    assert not bank.guaranteed
    assert "the series wanders: 3 of 3" in bank.why_not
    calm, noise = wandering_streams(rng, 400, 3, phi=0.2)
    assert primed(calm, noise, tick_us=HOUR_US).guaranteed


def test_a_long_memory_needs_four_weeks_of_reference_for_a_promise() -> None:
    for days, phi, promised in ((16, 0.9, False), (28, 0.9, True), (16, 0.5, True)):
        y, v = wandering_streams(np.random.default_rng(18), 24 * days, 10, phi=phi)
        bank = primed(y, v, tick_us=HOUR_US)
        assert bank.guaranteed is promised, (days, phi)
        assert ("under 28 days" in bank.why_not) is not promised


def test_ticks_of_rows_promise_no_rate_in_time() -> None:
    y, v = wandering_streams(np.random.default_rng(16), 260, 2, phi=0.2)
    bank = start_bank(specs_of(2), tick_us=HOUR_US, budget=BUDGET, row_ticks=True)
    starts = np.full(260, MONDAY_US)  # no time axis at all
    bank = prime(bank, starts[:200], y[:200], v[:200])
    assert not bank.guaranteed
    assert "row counts" in bank.why_not
    assert bank.maturity == "provisional"
    y[230:, 1] += 1.5
    bank, alarms = advance_block(bank, starts[200:], y[200:], v[200:])
    assert [alarm.stream for _, alarm in alarms] == [1]


def test_ticks_of_rows_count_on_whether_given_one_by_one_or_in_blocks() -> None:
    y, v = wandering_streams(np.random.default_rng(19), 180, 1, phi=0.0)
    y[125:] += np.where(np.arange(55) // 3 % 2 == 0, 3.0, -3.0)[:, None]
    bank = start_bank(specs_of(1), tick_us=0, budget=BUDGET)
    starts = np.full(180, MONDAY_US)
    bank = prime(bank, starts[:120], y[:120], v[:120])
    first, together = advance_block(bank, starts[120:], y[120:], v[120:])
    second, apart = one_by_one(bank, starts[120:], y[120:], v[120:])
    assert list(together) == apart
    assert len(together) >= 2, "a muted stream has to wake again"
    assert first.to_bytes() == second.to_bytes()


def test_a_standing_doubt_is_said() -> None:
    y, v = wandering_streams(np.random.default_rng(17), 80, 1, phi=0.0)
    bank = start_bank(
        specs_of(1), tick_us=6 * HOUR_US, budget=BUDGET, why_not="no tick length kept its budget"
    )
    bank = prime(bank, starts_of(80, 6 * HOUR_US), y, v)
    assert not bank.guaranteed
    assert bank.why_not == "no tick length kept its budget"


def two_steps(first: float, days: int, second: float) -> list[tuple[int, Alarm]]:
    """Alarms of six-hourly ticks of noise .05 with a practical effect of .5, by tick.

    After 56 days a step of `first` for so many days, then one of `second` for 30.
    """
    rng = np.random.default_rng(12)
    small = 4 * days
    y = rng.normal(0.0, 0.05, (224 + small + 120, 1))
    y[224 : 224 + small] += first
    y[224 + small :] += second
    v = np.full(y.shape, 0.05**2)
    bank = primed(y[:224], v[:224], delta_min=0.5)
    _, found = advance_block(bank, starts_of(len(y), 6 * HOUR_US)[224:], y[224:], v[224:])
    return list(found)


@pytest.mark.parametrize("days", [0, 3, 7, 21])
def test_a_step_that_does_not_matter_hides_none_that_does(days: int) -> None:
    (tick, alarm), *_ = two_steps(0.3, days, 1.5)
    assert 4 * days <= tick < 4 * (days + 5)
    assert alarm.effect > 0.5
    assert alarm.onset_us >= MONDAY_US + 56 * DAY_US
    assert two_steps(0.3, days, 0.3) == []


def test_one_wild_tick_is_no_proof_that_a_step_matters() -> None:
    """A narrow gate lets evidence grow of a step of nine tenths of what matters, and wait."""
    rng = np.random.default_rng(13)
    y = rng.normal(0.0, 0.05, (320, 1))
    y[224:] += 0.45
    y[300] = 1e5
    v = np.full(y.shape, 0.05**2)
    starts = starts_of(320, 6 * HOUR_US)
    bank = start_bank(
        specs_of(1, delta_min=0.5), tick_us=6 * HOUR_US, budget=BUDGET, gate_share=0.1
    )
    bank = prime(bank, starts[:224], y[:224], v[:224])
    before, _ = advance_block(bank, starts[224:300], y[224:300], v[224:300])
    assert before.wealth[0] > 720.0, "the evidence is there, and waits"
    assert advance_block(before, starts[300:], y[300:], v[300:])[1] == ()
    y[300:] += 0.5
    assert advance_block(before, starts[300:], y[300:], v[300:])[1]
