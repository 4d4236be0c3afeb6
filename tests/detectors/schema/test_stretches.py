"""What the reference does over stretches is no fault of the current window."""

from __future__ import annotations

import numpy as np

from detectors.records import DAY_US, ColumnSpec, FloatArray, IntArray, Kind, Schema, Task, Window
from detectors.schema import check_schema

SCHEMA = Schema(Task.BINARY, (ColumnSpec("rain", Kind.NUMERIC),))
ROWS_A_DAY = 40


def days(first: int, last: int) -> IntArray:
    """Event times of rows spread over the days first to last."""
    return np.repeat(np.arange(first, last) * DAY_US, ROWS_A_DAY) + np.tile(
        np.arange(ROWS_A_DAY) * 60_000_000, last - first
    )


def window(ts_us: IntArray, rain: FloatArray, *, timed: bool = True) -> Window:
    return Window(rows=len(rain), ts_us=ts_us if timed else None, numeric={"rain": rain})


def rainy(ts_us: IntArray, *, dry_days: set[int], seed: int) -> FloatArray:
    """Rain in two rows of three, and none on dry days."""
    rng = np.random.default_rng(seed)
    amount = np.where(rng.random(len(ts_us)) < 0.67, rng.gamma(2.0, 1.0, len(ts_us)), 0.0)
    amount[np.isin(ts_us // DAY_US, list(dry_days))] = 0.0
    return amount


def found(reference: Window, current: Window) -> set[str]:
    return {check.check for check in check_schema(reference, current, SCHEMA)}


def test_two_dry_days_are_no_fault_where_the_reference_had_two_dry_days() -> None:
    before, now = days(0, 30), days(30, 32)
    dry_spell = window(before, rainy(before, dry_days={10, 11, 12}, seed=1))
    never_dry = window(before, rainy(before, dry_days=set(), seed=1))
    current = window(now, np.zeros(len(now)))

    assert found(dry_spell, current) == set()
    assert "constant" in found(never_dry, current)


def test_without_times_the_same_rows_are_a_fault() -> None:
    before, now = days(0, 30), days(30, 32)
    rain = rainy(before, dry_days={10, 11, 12}, seed=1)

    assert "constant" in found(
        window(before, rain, timed=False), window(now, np.zeros(len(now)), timed=False)
    )


def test_a_value_that_most_rows_have_anyway_may_fill_a_window() -> None:
    before, now = days(0, 30), days(30, 32)
    rng = np.random.default_rng(2)
    mostly_dry = np.where(rng.random(len(before)) < 0.15, 1.0 + rng.random(len(before)), 0.0)

    assert found(window(before, mostly_dry), window(now, np.zeros(len(now)))) == set()
