"""Serving held against a training table that has no times."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from detectors.records import DAY_US, FloatArray, IntArray, Settings
from detectors.skew import FEWEST_DAYS, Skew, serving_skew
from detectors.streams import feature_streams
from detectors.summary import fit_profile
from tests.detectors.rows import SCHEMA, flights

PROFILE = fit_profile(flights(np.random.default_rng(41), 40_000), SCHEMA)
SPECS = tuple(
    spec
    for spec in feature_streams(PROFILE, Settings())
    if spec.stream.statistic in {"location", "spread"}
)
IDS = [spec.stream.id for spec in SPECS]


def week(
    rng: np.random.Generator, rise: float = 0.0, days: int = 7
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Ticks of 6 h whose days differ among themselves by .3 sd about the table; `rise` in one."""
    starts = np.arange(days * 4, dtype=np.int64) * (DAY_US // 4)
    y = np.repeat(rng.normal(0, 0.3, (days, len(SPECS))), 4, axis=0)
    y[:, 0] += rise
    return starts, y, np.full(y.shape, 1 / 400)


def skew_of(rng: np.random.Generator, rise: float = 0.0, days: int = 7) -> tuple[Skew, ...]:
    return serving_skew(SPECS, PROFILE, *week(rng, rise, days))


def test_a_column_served_otherwise_is_told_with_its_size() -> None:
    first, *_ = skew_of(np.random.default_rng(1), rise=1.5)
    assert IDS[first.stream] == IDS[0]
    assert first.effect == pytest.approx(1.5, abs=0.4)


def test_the_noise_is_that_of_days_not_of_rows() -> None:
    """Days that scatter by .3 sd about the table are no skew, though 2,800 rows would tell."""
    rng = np.random.default_rng(2)
    told = sum(bool(skew_of(rng)) for _ in range(400))
    assert told <= 400 * 0.05 + 3 * np.sqrt(400 * 0.05)


def test_the_test_is_that_of_student_on_daily_means() -> None:
    starts, y, v = week(np.random.default_rng(3), rise=1.0)
    one = next(s for s in serving_skew(SPECS, PROFILE, starts, y, v) if s.stream == 0)
    theirs = ttest_1samp(y[::4, 0], 0.0)
    # The table's own error is added; with 40,000 rows it hardly counts.
    assert one.effect / one.error == pytest.approx(theirs.statistic, rel=0.02)


def test_too_few_days_tell_nothing() -> None:
    assert skew_of(np.random.default_rng(1), rise=3.0, days=FEWEST_DAYS - 1) == ()
