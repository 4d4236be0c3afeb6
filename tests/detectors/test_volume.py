"""Rows by the day: what is usual, which days are whole, and what is said of a change."""

from __future__ import annotations

import math

import numpy as np
import pytest

from detectors.records import DAY_US, HOUR_US, IntArray, Window
from detectors.volume import (
    SCATTER,
    VolumeRuler,
    fit_volume_ruler,
    volume_spec,
    volume_statistics,
    volume_words,
    whole_days,
)

MONDAY_US = 20_003 * DAY_US
"""A Monday, as its date says: 2024-10-07."""


def rows_of(counts: list[int], *, first_us: int = MONDAY_US) -> Window:
    """So many rows in each day, evenly over it."""
    ts = [
        first_us + day * DAY_US + (np.arange(count) * DAY_US // max(count, 1))
        for day, count in enumerate(counts)
    ]
    times: IntArray = np.concatenate(ts).astype(np.int64)
    return Window(rows=len(times), ts_us=times)


def test_days_are_counted_with_those_that_have_no_rows() -> None:
    days = whole_days(rows_of([30, 0, 40]))
    assert days.starts_us.tolist() == [MONDAY_US + day * DAY_US for day in range(3)]
    assert days.weight.tolist() == [30, 0, 40]


def test_a_row_counts_as_many_as_it_stands_for() -> None:
    window = rows_of([30, 30])
    sampled = Window(rows=60, ts_us=window.ts_us, weight=np.full(60, 10.0))
    days = whole_days(sampled)
    assert days.weight.tolist() == [300.0, 300.0]
    assert days.weight2.tolist() == [3_000.0, 3_000.0]
    # Thirty rows by a sample of one in ten scatter like thirty, not like three hundred.
    _, v = volume_statistics(days, VolumeRuler((200.0,) * 7))
    assert v[0] == pytest.approx(10.0 / 205.0)


@pytest.mark.parametrize(("cut_hours", "kept"), [(0.5, 4), (3.0, 3)])
def test_a_day_that_is_cut_is_none(cut_hours: float, kept: int) -> None:
    window = rows_of([96] * 4)
    assert window.ts_us is not None
    late = window.take(window.ts_us >= MONDAY_US + int(cut_hours * HOUR_US))
    early = window.take(window.ts_us < MONDAY_US + 4 * DAY_US - int(cut_hours * HOUR_US))
    assert len(whole_days(late).starts_us) == kept
    assert len(whole_days(early).starts_us) == kept


def test_without_times_there_are_no_days() -> None:
    assert not len(whole_days(Window(rows=3)).starts_us)
    assert not len(whole_days(Window(rows=0, ts_us=np.empty(0, np.int64))).starts_us)
    assert fit_volume_ruler(whole_days(Window(rows=3))) is None


def test_usual_is_that_of_the_weekday_and_needs_fourteen_days() -> None:
    weeks = [100, 110, 120, 130, 140, 10, 5] * 3
    weeks[7] = 1_000  # one wild Monday moves no median
    ruler = fit_volume_ruler(whole_days(rows_of(weeks)))
    assert ruler is not None
    assert list(ruler.usual) == [100, 110, 120, 130, 140, 10, 5]
    assert fit_volume_ruler(whole_days(rows_of(weeks[:13]))) is None


def test_a_weekday_that_never_had_rows_is_not_judged_and_neither_is_silence() -> None:
    ruler = fit_volume_ruler(
        whole_days(rows_of([100] * 5 + [0, 0] + [100] * 5 + [0, 0] + [100] * 5))
    )
    assert ruler is not None
    assert ruler.usual[5:] == (0.0, 0.0)
    y, v = volume_statistics(whole_days(rows_of([100, 0, 17, 100, 100, 100])), ruler)
    assert np.isinf(v).tolist() == [False, True, False, False, False, True]
    assert y[0] == pytest.approx(0.0)
    assert y[2] == pytest.approx(math.log(17.5 / 100.5))
    assert v[0] == pytest.approx(SCATTER**2)


def test_a_factor_matters_the_same_both_ways() -> None:
    spec = volume_spec(2.0, share=0.1)
    assert spec.stream.id == "rows.volume"
    assert spec.weight == 0.1
    assert spec.delta_min == pytest.approx(math.log(2.0))


@pytest.mark.parametrize(
    ("rows", "ratio", "words"),
    [
        (1_654, 1 / 6, "rows per day fell to 17 % of what is usual, 9,920 → 1,650"),
        (31_000, 3.1, "rows per day rose to 3.1 times what is usual, 10,000 → 31,000"),
        (2.0, 0.1, "rows per day fell to 10 % of what is usual, 20 → 2"),
    ],
)
def test_a_change_is_said_as_a_ratio_and_in_rows(rows: float, ratio: float, words: str) -> None:
    assert volume_words(rows, math.log(ratio)) == words
