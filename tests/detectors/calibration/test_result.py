"""A verdict needs twenty of the rarer class on both sides, however clear the numbers look."""

from __future__ import annotations

import pytest

from detectors.calibration.result import judge
from detectors.records import State


@pytest.mark.parametrize(
    ("rare", "before", "state"),
    [
        (20.0, None, State.DRIFT),
        (20.0, 20.0, State.DRIFT),
        (19.9, None, State.UNDETERMINED),
        (20.0, 19.9, State.UNDETERMINED),
        (5_000.0, 3.0, State.UNDETERMINED),
    ],
)
def test_a_clear_gap_is_a_drift_only_where_the_rarer_class_was_seen_often_enough(
    rare: float, before: float | None, state: State
) -> None:
    found = judge(
        rows=10_000,
        observed=0.2,
        expected=0.1,
        ratio=2.0,
        ratio_se=0.01,
        intercept=0.8,
        intercept_se=0.01,
        slope=1.0,
        slope_se=0.01,
        null_se=0.01,
        effective=10_000.0,
        rare=rare,
        rare_before=before,
    )
    assert found.state is state
