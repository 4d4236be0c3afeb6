from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from detectors.records import DAY_US, HOUR_US, Settings, Task, TransferState, to_us
from detectors.transfer.dependence import long_run_factors
from detectors.transfer.interval import tick_t
from detectors.transfer.schedule import review_word
from detectors.transfer.sums import TransferSums, concat_sums
from detectors.transfer.verdict import trajectory, transfer_verdict
from tests.detectors.transfer.simulate import cohort_days

OPEN = Settings(alpha=0.05)
HALF_YEAR = Settings(review_us=180 * DAY_US)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_no_baseline_is_not_monitored_and_no_labels_is_undetermined() -> None:
    absent = transfer_verdict(None, task=Task.BINARY, settings=OPEN, ended=False)
    assert absent.state is TransferState.NOT_MONITORED
    assert "no baseline" in absent.words
    for sums in (TransferSums.empty(), cohort_days(rng(), 3, 0.0).take(slice(0, 0))):
        waiting = transfer_verdict(sums, task=Task.BINARY, settings=OPEN, ended=True)
        assert waiting.state is TransferState.UNDETERMINED
        assert waiting.difference is None
        assert "no row has both scores and a label" in waiting.words


@pytest.mark.parametrize("settings", [OPEN, HALF_YEAR])
@pytest.mark.parametrize(
    ("difference", "state"),
    [(-0.05, TransferState.HELPS), (0.05, TransferState.HURTS), (0.0, TransferState.NEUTRAL)],
)
def test_a_clear_difference_gets_its_word(
    settings: Settings, difference: float, state: TransferState
) -> None:
    sums = cohort_days(rng(1), 180, difference, rows=100)
    verdict = transfer_verdict(sums, task=Task.BINARY, settings=settings, ended=True)
    assert verdict.state is state
    assert verdict.words.startswith(state.value)
    assert f"{verdict.rows:,} rows" in verdict.words
    assert verdict.rows == sums.rows.sum()
    assert verdict.margin == pytest.approx(0.01 * 0.5)
    assert verdict.rows_needed is None
    assert verdict.decided_at is not None
    assert not verdict.so_far


def test_the_interval_shown_is_that_of_the_closed_days() -> None:
    sums = cohort_days(rng(2), 14, -0.05, rows=60)
    verdict = transfer_verdict(sums, task=Task.BINARY, settings=OPEN, ended=False)
    means = sums.difference / sums.rows
    shown = tick_t(means, sums.rows, alpha=0.05)
    assert shown.mean is not None
    assert shown.half_width is not None
    wider = shown.half_width * np.sqrt(long_run_factors(means)[-1])
    assert list(verdict.ci) == pytest.approx([shown.mean - wider, shown.mean + wider])
    assert verdict.difference == pytest.approx(shown.mean)


def test_the_first_decision_keeps_its_date_while_data_arrive() -> None:
    sums = cohort_days(rng(3), 60, 0.06, rows=100)
    dates = {
        transfer_verdict(
            sums.take(slice(0, days)), task=Task.BINARY, settings=OPEN, ended=False
        ).decided_at
        for days in (30, 45, 60)
    }
    assert len(dates) == 1
    (decided,) = dates
    assert decided is not None
    first = to_us(decided) // DAY_US
    before = sums.take(slice(0, first - 1))
    said = transfer_verdict(before, task=Task.BINARY, settings=OPEN, ended=False)
    assert said.state is TransferState.UNDETERMINED


def test_a_prefix_of_the_log_gives_a_prefix_of_the_trajectory() -> None:
    sums = cohort_days(rng(4), 90, 0.01, phi=0.6)
    whole, part = trajectory(sums), trajectory(sums.take(slice(0, 50)))
    assert np.array_equal(whole.mean[:50], part.mean)
    assert np.array_equal(whole.upper[:50], part.upper)
    assert (whole.ts_us == sums.start_us + DAY_US).all()


def test_little_data_says_how_much_more_is_needed() -> None:
    sums = cohort_days(rng(5), 9, -0.02, rows=40)
    verdict = transfer_verdict(sums, task=Task.BINARY, settings=OPEN, ended=False)
    assert verdict.state is TransferState.UNDETERMINED
    assert verdict.rows_needed is not None
    assert verdict.rows_needed > 500
    assert "wider than the margin" in verdict.words
    assert f"about {verdict.rows_needed:,} more rows" in verdict.words


def test_the_rows_said_to_be_needed_are_about_enough() -> None:
    """Median over 40 logs: after the rows promised at day 10, most are decided."""
    decided = 0
    for seed in range(40):
        sums = cohort_days(rng(100 + seed), 300, 0.05, rows=30)
        begun = transfer_verdict(
            sums.take(slice(0, 10)), task=Task.REGRESSION, settings=OPEN, ended=False
        )
        if begun.rows_needed is None:
            decided += 1
            continue
        more = int(np.searchsorted(np.cumsum(sums.rows), begun.rows + 2 * begun.rows_needed))
        later = transfer_verdict(
            sums.take(slice(0, more + 1)), task=Task.REGRESSION, settings=OPEN, ended=False
        )
        decided += later.state is not TransferState.UNDETERMINED
    assert decided >= 20


def test_before_the_review_a_word_is_so_far_and_at_the_review_it_is_not() -> None:
    sums = cohort_days(rng(6), 180, -0.05, rows=80)
    early = transfer_verdict(
        sums.take(slice(0, 120)), task=Task.BINARY, settings=HALF_YEAR, ended=False
    )
    held = transfer_verdict(sums, task=Task.BINARY, settings=HALF_YEAR, ended=False)
    assert (early.state, early.so_far) == (TransferState.HELPS, True)
    assert "so far" in early.words
    assert (held.state, held.so_far) == (TransferState.HELPS, False)
    assert held.decided_at == early.decided_at
    assert held.method == "planned review"


def test_the_end_of_a_replayed_log_is_its_review() -> None:
    sums = cohort_days(rng(7), 100, -0.05, rows=80)
    word = review_word(sums, task=Task.BINARY, settings=HALF_YEAR, ended=True)
    assert word is not None
    assert (word.state, word.so_far) == (TransferState.HELPS, False)


def test_a_word_is_kept_until_a_later_review_takes_it_back() -> None:
    """Two reviews of 60 days: the first half hurts, the second half helps."""
    first = cohort_days(rng(8), 60, 0.1, rows=80)
    second = replace(
        cohort_days(rng(9), 60, -0.1, rows=80),
        start_us=(60 + np.arange(60, dtype=np.int64)) * DAY_US,
    )
    settings = Settings(review_us=60 * DAY_US)
    both = concat_sums([first, second])
    states = []
    for days in (60, 65, 120):
        word = review_word(
            both.take(slice(0, days)), task=Task.BINARY, settings=settings, ended=False
        )
        assert word is not None
        states.append((word.state, word.so_far))
    assert states == [
        (TransferState.HURTS, False),
        (TransferState.HURTS, False),
        (TransferState.HELPS, False),
    ]


def test_hourly_and_daily_base_ticks_give_the_same_review() -> None:
    hours = cohort_days(rng(10), 24 * 60, -0.05, rows=5, tick_us=HOUR_US)
    days = hours.grouped(np.arange(0, 24 * 60, 24))
    settings = Settings(review_us=60 * DAY_US)
    fine, coarse = (
        transfer_verdict(sums, task=Task.BINARY, settings=settings, ended=False)
        for sums in (hours, days)
    )
    assert fine == coarse


def test_a_day_that_is_still_filling_is_not_looked_at() -> None:
    """The first look needs twelve days: it waits for the twelfth to be whole."""
    hours = cohort_days(rng(11), 24 * 12, -3.0, rows=5, tick_us=HOUR_US)
    settings = Settings(review_us=26 * DAY_US)
    states = []
    for ticks in (24 * 11 + 7, 24 * 12):
        word = review_word(
            hours.take(slice(0, ticks)), task=Task.REGRESSION, settings=settings, ended=False
        )
        assert word is not None
        states.append(word.state)
    assert states == [TransferState.UNDETERMINED, TransferState.HELPS]


def test_a_plan_too_short_for_a_look_falls_back_on_the_interval() -> None:
    sums = cohort_days(rng(12), 10, 0.2, rows=100)
    short = Settings(review_us=10 * DAY_US, alpha=0.05)
    verdict = transfer_verdict(sums, task=Task.BINARY, settings=short, ended=True)
    assert verdict.method == "tick-t"
    assert verdict.state is TransferState.HURTS


def test_ticks_of_rows_carry_no_date() -> None:
    sums = replace(cohort_days(rng(13), 60, -0.06, rows=50), start_us=np.arange(60, dtype=np.int64))
    settings = Settings(tick_rows=50, review_us=180 * DAY_US)
    verdict = transfer_verdict(sums, task=Task.BINARY, settings=settings, ended=True)
    assert verdict.state is TransferState.HELPS
    assert verdict.method == "planned review"
    assert verdict.decided_at is None


def test_models_that_agree_on_every_row_are_neutral() -> None:
    sums = replace(cohort_days(rng(14), 40, 0.0), difference=np.zeros(40), difference2=np.zeros(40))
    for settings in (OPEN, HALF_YEAR):
        verdict = transfer_verdict(sums, task=Task.BINARY, settings=settings, ended=True)
        assert verdict.state is TransferState.NEUTRAL
        assert verdict.difference == 0.0


def test_dates_are_those_of_the_calendar() -> None:
    begin = to_us(datetime(2013, 1, 1, tzinfo=UTC))
    base = cohort_days(rng(15), 40, 0.2, rows=100)
    sums = replace(base, start_us=base.start_us + begin)
    settings = Settings(review_us=30 * DAY_US)
    verdict = transfer_verdict(sums, task=Task.BINARY, settings=settings, ended=False)
    assert verdict.decided_at is not None
    assert (
        datetime(2013, 1, 12, tzinfo=UTC) < verdict.decided_at <= datetime(2013, 1, 31, tzinfo=UTC)
    )
    assert verdict.decided_at.hour == 0


def test_ten_years_of_days_are_judged_quickly_enough_to_finish() -> None:
    verdict = transfer_verdict(
        cohort_days(rng(16), 3650, 0.0, rows=20),
        task=Task.BINARY,
        settings=Settings(review_us=365 * DAY_US),
        ended=False,
    )
    assert verdict.state is not TransferState.NOT_MONITORED
