from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.testing import assert_allclose

from detectors.evidence.design import Design
from detectors.records import DAY_US, HOUR_US, to_us


@pytest.mark.parametrize(
    ("tick_us", "width"),
    [
        (HOUR_US // 4, 24),
        (HOUR_US, 24),
        (2 * HOUR_US, 12),
        (6 * HOUR_US, 4),
        (12 * HOUR_US, 3),
        (DAY_US, 7),
        (7 * DAY_US, 1),
        (0, 1),
    ],
)
def test_a_tick_gets_the_regressors_it_can_resolve(tick_us: int, width: int) -> None:
    design = Design(tick_us)
    starts = np.arange(15) * (tick_us or 1)
    assert design.width == width
    assert design.columns(starts).shape == (15, width)
    assert design.prior_sd(np.ones(3)).shape == (3, width)


def test_hourly_columns_follow_the_utc_clock_and_weekend() -> None:
    first = datetime(2026, 11, 20, 22, tzinfo=UTC)  # a Friday
    moments = [first + timedelta(hours=h) for h in range(80)]
    columns = Design(HOUR_US).columns(np.array([to_us(moment) for moment in moments]))
    hours = np.array([moment.hour for moment in moments])
    assert_allclose(columns[:, 0], 1.0)
    assert_allclose(columns[:, 1], np.cos(2 * np.pi * hours / 24), atol=1e-12)
    assert_allclose(columns[:, 22], np.sin(2 * np.pi * 11 * hours / 24), atol=1e-9)
    assert columns[:, 23].tolist() == [float(moment.weekday() >= 5) for moment in moments]


def test_daily_columns_are_contrasts_that_sum_to_nothing_over_a_week() -> None:
    monday = to_us(datetime(2026, 11, 16, tzinfo=UTC))
    columns = Design(DAY_US).columns(monday + np.arange(7) * DAY_US)
    assert_allclose(columns[:6, 1:], np.eye(6))
    assert_allclose(columns[:, 1:].sum(axis=0), 0.0)


@pytest.mark.parametrize("tick_us", [HOUR_US, 6 * HOUR_US, DAY_US])
def test_regressors_tell_every_coefficient_apart(tick_us: int) -> None:
    columns = Design(tick_us).columns(np.arange(0, 28 * DAY_US, tick_us))
    assert np.linalg.cond(columns) < 50


def test_a_season_may_reach_three_tenths_and_less_where_the_stream_itself_is_small() -> None:
    wide, small = Design(HOUR_US).prior_sd(np.array([1.0, 0.01]))
    assert wide[0] == 100.0
    assert_allclose(wide[[1, 3, 23]], [0.3, 0.15, 0.3])
    assert_allclose(small[[1, 3, 23]], [0.02, 0.01, 0.02])
