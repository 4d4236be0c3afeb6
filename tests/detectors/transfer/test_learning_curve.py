from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit

from detectors.transfer.learning_curve import CurvePoint, fit_curve, learning_curve
from detectors.transfer.signatures import Signature, curve_signature

SIZES = np.geomspace(200, 20_000, 25)


def law(n: Any, a: float, b: float, c: float) -> Any:
    return a + b * n**-c


def points(
    seed: int, *, a: float = 0.4, b: float = 2.0, c: float = 0.5, served: float = 0.45
) -> list[CurvePoint]:
    rng = np.random.default_rng(seed)
    return [
        CurvePoint(n, 400.0, a + b * n**-c + 0.004 * rng.normal(), served + 0.004 * rng.normal())
        for n in SIZES
    ]


def test_the_fit_is_that_of_bounded_least_squares() -> None:
    noisy = points(3)
    loss = np.array([p.loss for p in noisy])
    a, b, c = (
        float(found[0]) for found in fit_curve(SIZES, loss[None, :], np.ones((1, len(SIZES))))
    )
    best, _ = curve_fit(law, SIZES, loss, p0=[0.4, 1.0, 0.5], bounds=([0, 0, 0.1], [5, 50, 1.5]))
    assert law(SIZES, a, b, c) == pytest.approx(law(SIZES, *best), abs=5e-4)


def test_the_crossing_is_where_the_curves_meet() -> None:
    """.4 + 2 / √n = .45 at n = 1,600, and 95 % intervals hold it about that often."""
    held = 0
    for seed in range(40):
        found = learning_curve(points(seed), seed=seed)
        assert found is not None
        low, high = found.crossing_ci
        held += low is not None and low <= 1_600 and (high is None or high >= 1_600)
    assert held >= 34
    exact = learning_curve(points(1))
    assert exact is not None
    assert exact.crossing == pytest.approx(1_600, rel=0.3)
    assert exact.at(10_000) == pytest.approx(0.42, abs=0.01)


def test_a_transferred_model_below_the_floor_is_never_crossed() -> None:
    found = learning_curve(points(1, served=0.3))
    assert found is not None
    assert found.crossing is None
    assert found.crossing_ci[1] is None


def test_doubling_gains_what_the_law_says() -> None:
    found = learning_curve(points(2, c=0.3, b=1.0))
    assert found is not None
    assert found.gain == pytest.approx(
        (law(20_000, 0.4, 1.0, 0.3) - law(40_000, 0.4, 1.0, 0.3)) / law(20_000, 0.4, 1.0, 0.3),
        abs=0.006,
    )
    assert found.gain_ci[0] <= found.gain <= found.gain_ci[1]


def test_a_flat_curve_gains_nothing_certain() -> None:
    found = learning_curve(points(4, b=0.0))
    assert found is not None
    assert found.gain_ci[0] < 0.01


def test_losses_that_rise_with_rows_are_fitted_flat() -> None:
    rising = np.linspace(0.4, 0.6, len(SIZES))
    a, b, _ = fit_curve(SIZES, rising[None, :], np.ones((1, len(SIZES))))
    assert float(b[0]) == 0.0
    assert float(a[0]) == pytest.approx(0.5)


def test_few_blocks_or_one_size_have_no_curve() -> None:
    assert learning_curve(points(1)[:4]) is None
    assert learning_curve([CurvePoint(500, 10, 0.5 + i / 100) for i in range(9)]) is None


def test_the_same_seed_gives_the_same_interval() -> None:
    assert learning_curve(points(5), seed=3) == learning_curve(points(5), seed=3)


def test_flat_losses_above_an_unfrozen_model_are_high_bias() -> None:
    n = np.array([500.0, 1_000, 2_000, 4_000])
    flat = np.array([0.600, 0.601, 0.600, 0.6005])
    found = curve_signature(n, flat - 0.01, flat, best_scratch=0.5)
    assert found is not None
    assert found.signature is Signature.HIGH_BIAS
    assert "freeze less" in found.words


def test_a_wide_gap_that_grows_is_overfitting() -> None:
    n = np.array([500.0, 1_000, 2_000])
    found = curve_signature(n, np.array([0.4, 0.3, 0.2]), np.array([0.5, 0.5, 0.5]))
    assert found is not None
    assert found.signature is Signature.WIDE_GAP
    assert "freeze more" in found.words


def test_a_curve_that_falls_well_is_neither() -> None:
    n = np.array([500.0, 1_000, 2_000, 4_000])
    falling = 0.4 + 3.0 / np.sqrt(n)
    found = curve_signature(n, falling - 0.02, falling, best_scratch=0.4)
    assert found is not None
    assert found.signature is Signature.NEITHER
    assert curve_signature(n[:2], falling[:2], falling[:2]) is None
