"""River's methods fire where river's own objects do, though their memory is plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from river.drift import KSWIN
from river.drift.binary import DDM, EDDM, FHDDM, HDDMA, HDDMW
from scipy import stats

from detectors.base import make_detector
from detectors.drift.named.kswin import Kswin, ks_distance, least_distance, sample
from detectors.drift.river_twins import bounded
from detectors.records import FloatArray, NamedDetector

hddma: Any = HDDMA
hddmw: Any = HDDMW


def levels(seed: int) -> FloatArray:
    """A level that jumps every eighty ticks."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(0, 2, 10), 80) + rng.normal(size=800)


def twins(
    chart: Callable[[], Any], read: Callable[[float], float], values: FloatArray
) -> list[int]:
    """Two of river's own objects, one on the mirrored values, both renewed when one fires."""
    up, down = chart(), chart()
    found = []
    for tick, value in enumerate(values.tolist()):
        up.update(read(value))
        down.update(read(-value))
        if up.drift_detected or down.drift_detected:
            found.append(tick)
            up, down = chart(), chart()
    return found


@pytest.mark.parametrize(
    ("method", "chart", "read"),
    [
        ("hddma", lambda: hddma(0.001), bounded),
        ("hddmw", lambda: hddmw(0.005, 0.01, 0.1), bounded),
        ("ddm", lambda: DDM(30, 3.0, 3.0), lambda value: float(value > 1.0)),
        ("eddm", lambda: EDDM(30, 0.7, 0.7), lambda value: float(value > 1.0)),
        ("fhddm", lambda: FHDDM(25, 1e-4), lambda value: 1.0 - bounded(value)),
    ],
)
def test_it_fires_when_rivers_own_does(
    method: str, chart: Callable[[], Any], read: Callable[[float], float]
) -> None:
    following = make_detector(NamedDetector(method, "score"))
    expected: list[int] = []
    found: list[int] = []
    for seed in range(4):
        state = following.start(np.zeros(0))
        for tick, value in enumerate(levels(seed).tolist()):
            state, fired = following.step(state, value)
            if fired:
                found.append(tick)
        expected += twins(chart, read, levels(seed))
    assert found == expected
    assert len(found) >= 4


def test_kswin_fires_when_rivers_own_does_on_the_same_samples() -> None:
    class Drawn:
        """Stands in for river's generator, so that both look at the same older ticks."""

        def __init__(self, river: Any) -> None:
            self.river = river

        def sample(self, population: range, size: int) -> list[int]:
            drawn: list[int] = sample(3, self.river.n, len(population), size).tolist()
            return drawn

    ours = Kswin(alpha=0.001, window_size=60, stat_size=20, seed=3)
    river: Any = KSWIN(alpha=0.001, window_size=60, stat_size=20)
    river._rng = Drawn(river)
    state = ours.start(np.zeros(0))
    found, expected = [], []
    for tick, value in enumerate(levels(2).tolist()):
        state, fired = ours.step(state, value)
        if river.drift_detected:
            river._reset()
            river._rng = Drawn(river)
        river.update(value)
        if fired:
            found.append(tick)
        if river.drift_detected:
            expected.append(tick)
    assert found == expected
    assert len(found) >= 4


def test_the_sample_has_no_repeats_and_reaches_every_place_evenly() -> None:
    drawn = np.array([sample(0, count, 40, 10) for count in range(4000)])
    assert all(len(set(row)) == 10 for row in drawn[:200].tolist())
    counts = np.bincount(drawn.ravel(), minlength=40)
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("alpha", [0.2, 0.01, 1e-4, 1e-9])
def test_the_least_distance_is_where_scipys_exact_p_value_falls_below_alpha(alpha: float) -> None:
    size = 20
    steps = np.arange(size, dtype=float)
    first = next(
        k
        for k in range(3, size + 1)
        if stats.ks_2samp(steps, steps + k - 0.5, method="exact").pvalue <= alpha
    )
    assert least_distance(alpha, size) == pytest.approx(first / size)


def test_the_distance_is_scipys_with_ties_too() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        a, b = rng.integers(0, 8, 25).astype(float), rng.integers(1, 9, 25).astype(float)
        assert ks_distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)
