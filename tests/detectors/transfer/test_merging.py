from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.records import DAY_US, HOUR_US, Task
from detectors.transfer.dependence import autocorrelations
from detectors.transfer.merging import closing_ticks, merge_ticks
from detectors.transfer.sums import TransferSums
from tests.detectors.transfer.simulate import cohort_days


def sums(
    rows: list[float], minority: list[float] | None = None, tick_us: int = DAY_US
) -> TransferSums:
    n = np.array(rows)
    return TransferSums(
        np.arange(len(rows), dtype=np.int64) * tick_us,
        n,
        0.1 * n,
        0.2 * n,
        0.5 * n,
        0.5 * n if minority is None else np.array(minority),
    )


def test_autocorrelation_of_every_prefix_agrees_with_its_definition() -> None:
    x = np.random.default_rng(1).normal(5.0, 1.0, 40)
    found = autocorrelations(x)
    for n in range(3, 41):
        e = x[:n] - x[:n].mean()
        assert found[n - 1] == pytest.approx((e[1:] @ e[:-1]) / (e @ e), abs=1e-10)


def test_a_constant_series_has_no_autocorrelation() -> None:
    assert autocorrelations(np.full(20, 0.3)).tolist() == [0.0] * 20


def test_ticks_close_at_twenty_rows() -> None:
    closed = closing_ticks(sums([12, 8, 5, 30, 4]), task=Task.REGRESSION)
    assert closed.rows.tolist() == [20, 35]


def test_rows_left_over_wait_or_join_the_last_tick_at_the_end() -> None:
    log = sums([25, 25, 4])
    assert closing_ticks(log, task=Task.REGRESSION).rows.tolist() == [25, 25]
    assert closing_ticks(log, task=Task.REGRESSION, ended=True).rows.tolist() == [25, 29]


def test_a_rare_label_makes_ticks_longer() -> None:
    """At a base rate of 1 % two expected minority labels need 200 rows."""
    closed = closing_ticks(sums([50] * 12), task=Task.BINARY, minority_rate=0.01)
    assert closed.rows.tolist() == [200, 200, 200]
    assert closing_ticks(sums([50] * 12), task=Task.REGRESSION).rows.tolist() == [50] * 12


def test_hours_add_up_to_whole_days() -> None:
    log = sums([30.0] * 60, tick_us=HOUR_US)
    assert closing_ticks(log, task=Task.REGRESSION).rows.tolist() == [720, 720]


def test_a_tick_never_closes_because_of_its_own_outcomes() -> None:
    """Without a reference rate, changing a tick's labels leaves its own end where it was."""
    calm = sums([40] * 10, minority=[8] * 10)
    wild = replace(calm, minority=np.array([8, 8, 8, 8, 40, 8, 8, 8, 8, 8.0]))
    first, second = (closing_ticks(log, task=Task.BINARY).start_us for log in (calm, wild))
    assert np.array_equal(first[:5], second[:5])


def test_independent_days_are_not_doubled_and_wandering_days_are() -> None:
    rng = np.random.default_rng(3)
    calm = merge_ticks(cohort_days(rng, 120, 0.0), task=Task.REGRESSION)
    wandering = merge_ticks(cohort_days(rng, 120, 0.0, phi=0.8), task=Task.REGRESSION)
    assert calm.factor[-1] <= 2
    assert wandering.factor[-1] >= 4
    assert (np.diff(wandering.factor) >= 0).all(), "never halves"
    assert (wandering.factor[:15] == 1).all(), "no doubling below 16 ticks"


def test_doubling_agrees_with_a_slow_reading_of_the_rule() -> None:
    log = cohort_days(np.random.default_rng(11), 150, 0.02, phi=0.7)
    merged = merge_ticks(log, task=Task.REGRESSION)
    closed, factor, slow = merged.sums, 1, []
    for seen in range(1, len(closed.rows) + 1):
        while (count := seen // factor) >= 16:
            d = closed.difference[: count * factor].reshape(count, factor).sum(axis=1)
            n = closed.rows[: count * factor].reshape(count, factor).sum(axis=1)
            e = d / n - (d / n).mean()
            if (e[1:] @ e[:-1]) / (e @ e) <= max(0.1, 1.64 / np.sqrt(count)):
                break
            factor *= 2
        slow.append(factor)
    assert merged.factor.tolist() == slow


def test_nothing_merges_to_nothing() -> None:
    assert len(merge_ticks(TransferSums.empty(), task=Task.BINARY).sums.rows) == 0
    assert len(merge_ticks(sums([0, 0]), task=Task.BINARY, ended=True).sums.rows) == 0
