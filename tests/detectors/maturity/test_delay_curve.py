"""The delay of labels: statsmodels' Kaplan-Meier is the oracle, and censored rows count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from detectors.maturity.cohorts import cohorts_of
from detectors.maturity.delay_curve import (
    DelayCurve,
    age_words,
    delay_curve,
    delay_ratio,
    kaplan_meier,
)
from detectors.records import DAY_US, HOUR_US, FloatArray, IntArray, Window

NEVER = np.iinfo(np.int64).max


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=2, max_size=60))
def test_the_curve_and_its_error_are_statsmodels(rows: list[tuple[int, bool]]) -> None:
    age = np.array([age for age, _ in rows], np.int64)
    came = np.array([flag for _, flag in rows])
    if not came.any():
        return
    curve = kaplan_meier(age, came, np.ones(len(age)))
    oracle = SurvfuncRight(age, came.astype(int))
    assert curve.age_us.tolist() == oracle.surv_times.tolist()
    assert curve.arrived == pytest.approx(1 - oracle.surv_prob)
    # Where all have come statsmodels' error is not a number.
    known = np.isfinite(oracle.surv_prob_se) & (oracle.surv_prob > 0)
    assert curve.se[known] == pytest.approx(oracle.surv_prob_se[known])


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    age = np.array([1, 2, 3, 5], np.int64)
    came = np.array([True, False, True, True])
    weighted = kaplan_meier(age, came, np.array([2.0, 2.0, 1.0, 1.0]))
    repeated = kaplan_meier(np.repeat(age, [2, 2, 1, 1]), np.repeat(came, [2, 2, 1, 1]), np.ones(6))
    assert weighted.arrived == pytest.approx(repeated.arrived)


def window(rows: int = 6000, days: int = 10, mean_days: float = 3.0) -> Window:
    """Labels come after exponential delays of three days; the last events are young."""
    rng = np.random.default_rng(1)
    ts = np.sort(rng.integers(0, days * DAY_US, rows))
    return Window(
        rows=rows,
        ts_us=ts,
        label=np.ones(rows),
        label_ts_us=ts + rng.exponential(mean_days * DAY_US, rows).astype(np.int64),
    )


def test_rows_that_still_wait_keep_labels_from_looking_fast() -> None:
    as_of = 10 * DAY_US
    whole = window()
    known = whole.known_by(as_of)
    curve = delay_curve(known, as_of_us=as_of)
    assert curve is not None
    truth = 1 - np.exp(-1.0)
    assert float(curve.at(np.array([3 * DAY_US]))[0]) == pytest.approx(truth, abs=0.03)
    assert known.label is not None
    assert known.label_ts_us is not None
    assert known.ts_us is not None
    seen = ~np.isnan(known.label)
    naive = float(((known.label_ts_us - known.ts_us)[seen] <= 3 * DAY_US).mean())
    assert naive > truth + 0.08


def test_what_is_known_later_changes_nothing_before() -> None:
    early = delay_curve(window(), as_of_us=10 * DAY_US)
    same = delay_curve(window().known_by(10 * DAY_US), as_of_us=10 * DAY_US)
    assert early is not None
    assert same is not None
    assert early.arrived.tolist() == same.arrived.tolist()


def test_quantiles_are_ages_at_which_the_curve_gets_there() -> None:
    curve = delay_curve(window(), as_of_us=60 * DAY_US)
    assert curve is not None
    assert curve.age_at(0.5) == pytest.approx(3 * DAY_US * np.log(2), rel=0.05)
    assert age_words(curve.age_at(0.5)) == f"{curve.age_at(0.5) / HOUR_US:.3g} h"  # type: ignore[operator]
    young = delay_curve(window(), as_of_us=10 * DAY_US)
    assert young is not None
    assert young.age_at(0.9999) is None
    assert age_words(None) == "not within sight"


def test_a_cohort_is_mature_when_its_labels_should_have_come() -> None:
    as_of = 10 * DAY_US
    known = window(mean_days=1.0).known_by(as_of)
    curve = delay_curve(known, as_of_us=as_of)
    assert curve is not None
    cohorts = cohorts_of(known, curve, as_of_us=as_of)
    assert [c.start_us // DAY_US for c in cohorts] == list(range(10))
    assert sum(c.rows for c in cohorts) == 6000
    for cohort in cohorts:
        assert cohort.labelled / cohort.rows == pytest.approx(cohort.expected, abs=0.06)
    # Mean of 1 - exp(-age) over the ages 9..10 days, 3..4 days and 0..1 day.
    assert cohorts[0].mature
    assert cohorts[6].expected == pytest.approx(1 - np.exp(-3) + np.exp(-4), abs=0.03)
    assert [c.mature for c in cohorts[-3:]] == [False, False, False]


@pytest.mark.parametrize(
    "rows",
    [
        Window(rows=0),
        Window(rows=2, ts_us=np.array([0, 1]), label=np.array([np.nan, np.nan])),
        Window(
            rows=2,
            ts_us=np.array([5, 6]),
            label=np.array([np.nan, np.nan]),
            label_ts_us=np.array([NEVER, NEVER]),
        ),
        Window(rows=1, ts_us=np.array([9]), label=np.ones(1), label_ts_us=np.array([10])),
    ],
)
def test_nothing_known_is_no_curve(rows: Window) -> None:
    assert delay_curve(rows, as_of_us=8) is None


def test_half_of_the_labels_twice_as_late_is_a_ratio_of_two_and_at_least_what_has_been_seen() -> (
    None
):
    before = DelayCurve(*_steps([1, 2, 3, 4], [0.2, 0.4, 0.6, 0.8]), rows=10, labelled=8)
    slower = DelayCurve(*_steps([2, 4, 6], [0.2, 0.4, 0.6]), rows=10, labelled=6)
    waiting = DelayCurve(*_steps([2, 5], [0.1, 0.2]), rows=10, labelled=2)

    # .8 of the labels ever came, so half of them is .4: at 2 before, at 4 now.
    assert delay_ratio(before, slower) == 2.0
    assert delay_ratio(before, waiting) == 2.5


def _steps(ages: list[int], arrived: list[float]) -> tuple[IntArray, FloatArray, FloatArray]:
    return np.array(ages, np.int64), np.array(arrived), np.zeros(len(ages))
