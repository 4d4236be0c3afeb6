"""The grid fit, held against the same model written with its covariance matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import solve_triangular
from scipy.signal import lfilter

from detectors.evidence.fit import fit_stream
from detectors.evidence.grids import PHI_GRID, RATIO_GRID
from detectors.records import FloatArray


def _slow_fit(
    columns: FloatArray, y: FloatArray, v: FloatArray, sd: FloatArray, floor: float
) -> tuple[list[float], list[float], list[float]]:
    """Whiten by the Cholesky factor of the covariance instead of a filter; dense algebra."""
    seen = np.isfinite(v)
    at = np.flatnonzero(seen)
    X, y, v = columns[seen], y[seen], v[seen]
    n, p = X.shape
    ridge = np.diag(1 / sd**2)
    best: tuple[list[float], list[float], list[float]] = ([], [], [])
    for phi in PHI_GRID:
        top, chosen, scale, worse = -math.inf, 0.0, 1.0, 0
        for ratio in RATIO_GRID:
            if ratio == 0 and phi > 0:
                continue
            lags = np.abs(at[:, None] - at[None, :])
            memory = np.where(lags == 0, 1.0, phi**lags)
            root = np.linalg.cholesky(ratio * np.median(v) * memory + np.diag(v))
            Z, r = solve_triangular(root, X, lower=True), solve_triangular(root, y, lower=True)
            beta = np.linalg.solve(Z.T @ Z + ridge, Z.T @ r)
            s2 = 1.0
            for _ in range(3):
                e = r - Z @ beta
                for _ in range(6):
                    pulled = np.sum(6 / (5 + e**2 / s2) * e**2)
                    s2 = max(pulled / max(n - 0.7 * p, n / 2), floor**2)
                w = 6 / (5 + e**2 / s2) / s2
                beta = np.linalg.solve((Z.T * w) @ Z + ridge, (Z.T * w) @ r)
            e = r - Z @ beta
            ll = -np.sum(np.log(np.diag(root))) - 0.5 * n * math.log(s2)
            ll -= 3 * np.sum(np.log1p(e**2 / (5 * s2)))
            ll -= 0.5 * beta @ ridge @ beta
            ll -= 0.5 * np.linalg.slogdet((Z.T * w) @ Z + ridge)[1]
            if ll > top:
                top, chosen, scale, worse = ll, ratio, math.sqrt(s2), 0
            else:
                worse += 1
                if worse == 3:
                    break
        for found, values in zip((top, chosen, scale), best, strict=True):
            values.append(found)
    return best


@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_the_covariance_matrix_ticks_missing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ticks = 61
    columns = np.stack([np.ones(ticks), rng.normal(size=ticks), np.arange(ticks) % 2.0], axis=1)
    u = lfilter([1.0], [1.0, -0.7], rng.standard_t(5, ticks) * 0.1)
    v = rng.uniform(0.005, 0.03, ticks)
    y = 0.3 + 0.2 * columns[:, 1] + u + rng.normal(size=ticks) * np.sqrt(v)
    v[[0, 7, 8, 9, 30, 60]] = np.inf
    y[7] = np.nan
    sd = np.array([100.0, 0.3, 0.3])
    found = fit_stream(columns, y, v, np.zeros(3), sd)
    ll, ratio, scale = _slow_fit(columns, np.nan_to_num(y), v, sd, 0.9)
    assert_allclose(found.log_likelihood, ll, rtol=1e-9)
    assert_allclose(found.ratio, ratio)
    assert_allclose(found.scale, scale, rtol=1e-9)
    likelihood = np.exp(np.array(ll) - max(ll))
    assert_allclose(found.weights, likelihood / likelihood.sum(), rtol=1e-6)


@pytest.mark.parametrize("phi", [0.65, 0.92])
def test_finds_on_average_the_memory_that_made_the_series(phi: float) -> None:
    rng = np.random.default_rng(5)
    ticks, found = 600, []
    for _ in range(12):
        shocks = rng.standard_t(5, ticks) * math.sqrt(3 / 5)
        u = lfilter([math.sqrt(1 - phi**2)], [1.0, -phi], shocks) * 0.1
        v = np.full(ticks, 1e-4)
        y = u + rng.normal(size=ticks) * np.sqrt(v)
        fit = fit_stream(np.ones((ticks, 1)), y, v, np.zeros(1), np.array([100.0]))
        found.append(float(fit.weights @ PHI_GRID))
    assert abs(np.mean(found) - phi) < 0.07


def test_the_scale_can_be_taken_as_known() -> None:
    rng = np.random.default_rng(6)
    y = rng.normal(0, 3, 200)
    free = fit_stream(np.ones((200, 1)), y, np.ones(200), np.zeros(1), np.array([100.0]))
    known = fit_stream(
        np.ones((200, 1)), y, np.ones(200), np.zeros(1), np.array([100.0]),
        scale_floor=1.0, scale_ceiling=1.0,
    )  # fmt: skip
    total = np.array([fit.scale[0] ** 2 * (1 + fit.ratio[0]) for fit in (free, known)])
    assert free.scale[0] > 1.0
    assert known.scale[0] == 1.0
    assert_allclose(total, 9.0, rtol=0.35)


def test_too_little_data_leaves_every_memory_equally_likely() -> None:
    v = np.full(10, np.inf)
    v[:3] = 1.0
    found = fit_stream(np.ones((10, 1)), np.zeros(10), v, np.zeros(1), np.ones(1))
    assert_allclose(found.weights, 1 / len(PHI_GRID))


@pytest.mark.parametrize("y", [np.zeros(50), np.full(50, 7.0), np.arange(50.0) * 1e6])
def test_series_without_noise_are_fitted_without_nan(y: FloatArray) -> None:
    found = fit_stream(
        np.ones((50, 1)), y, np.full(50, 1e-12), np.array([np.median(y)]), np.array([100.0])
    )
    for numbers in (found.log_likelihood, found.ratio, found.scale, found.weights):
        assert np.isfinite(numbers).all()
