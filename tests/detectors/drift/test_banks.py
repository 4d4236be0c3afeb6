"""Charts for many streams at once: the definition, written slowly, and published run lengths."""

from __future__ import annotations

import numpy as np
import pytest
from river.drift import PageHinkley as River

from detectors.drift.banks import (
    CUSUM_WIDTH,
    EWMA_WIDTH,
    LEARN,
    PAGE_HINKLEY_WIDTH,
    learning_bank,
    start_bank,
    step_cusum,
    step_ewma,
    step_page_hinkley,
)
from detectors.records import BoolArray, FloatArray


def first_alarms(fired: BoolArray) -> FloatArray:
    """First alarm of every stream, counted from 1; they all have one."""
    assert fired.any(axis=0).all()
    first: FloatArray = fired.argmax(axis=0) + 1.0
    return first


@pytest.mark.parametrize(("limit", "published"), [(4.0, 168.0), (5.0, 465.0)])
def test_cusum_has_its_published_run_length(limit: float, published: float) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(6000, 1500))
    fired = step_cusum(start_bank(1500, CUSUM_WIDTH), values, np.full(1500, limit), allowance=0.5)
    runs = first_alarms(fired)
    assert runs.mean() == pytest.approx(published, abs=4 * runs.std() / 1500**0.5)


def test_ewma_has_its_published_run_length() -> None:
    """Lucas and Saccucci (1990), table 3: weight .1, limit 2.814, in control 500."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(7000, 1200))
    fired = step_ewma(start_bank(1200, EWMA_WIDTH), values, np.full(1200, 2.814), weight=0.1)
    runs = first_alarms(fired)
    assert runs.mean() == pytest.approx(500.0, abs=4 * runs.std() / 1200**0.5)


def test_every_stream_of_a_cusum_bank_is_the_largest_sum_over_runs_that_end_now() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(60, 5))
    values[rng.random(values.shape) < 0.1] = np.nan
    memory = start_bank(5, CUSUM_WIDTH)
    for cut in range(0, 60, 7):
        step_cusum(memory, values[cut : cut + 7], np.full(5, 1e9), allowance=0.5)
    for k in range(5):
        seen = values[:, k][np.isfinite(values[:, k])]
        rises = [float((seen[first:] - 0.5).sum()) for first in range(len(seen))]
        falls = [float((-seen[first:] - 0.5).sum()) for first in range(len(seen))]
        assert memory[k, 2] == pytest.approx(max(0.0, *rises))
        assert memory[k, 3] == pytest.approx(max(0.0, *falls))


def test_a_page_hinkley_bank_fires_where_rivers_own_does_without_forgetting() -> None:
    rng = np.random.default_rng(4)
    values = np.repeat(rng.normal(0, 2, (8, 6)), 60, axis=0) + rng.normal(size=(480, 6))
    fired = step_page_hinkley(
        learning_bank(6, PAGE_HINKLEY_WIDTH), values, np.full(6, 12.0), delta=0.25
    )
    for k in range(6):
        # The sums of river begin with the first tick, ours when the level has been learnt.
        begin, found = 0, []
        while begin < len(values):
            river = River(min_instances=1, delta=0.25, threshold=12.0, alpha=1.0)
            for value in values[begin : begin + LEARN, k].tolist():
                river._x_mean.update(value)
            for tick in range(begin + LEARN, len(values)):
                river.update(float(values[tick, k]))  # type: ignore[no-untyped-call]
                if river.drift_detected:
                    found.append(tick)
                    begin = tick + 1
                    break
            else:
                break
        assert np.flatnonzero(fired[:, k]).tolist() == found
    assert fired.sum() > 12


def test_a_chart_that_fired_learns_the_level_it_finds() -> None:
    values = np.concatenate([np.zeros(10), np.full(200, 9.0)])[:, None]
    fired = step_cusum(start_bank(1, CUSUM_WIDTH), values, np.full(1, 8.0), allowance=0.5)
    assert np.flatnonzero(fired).tolist() == [10]
