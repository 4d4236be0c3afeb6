from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.transfer.interval import tick_t, tick_t_log_e, tick_t_path

X = np.array([0.02, 0.05, -0.01, 0.04, 0.06, 0.03, 0.05, 0.02])
N = np.array([50.0, 40, 60, 50, 50, 45, 55, 50])


def test_interval_matches_the_published_vector() -> None:
    path = tick_t_path(X, N, alpha=0.05, n_plan=50.0)
    assert np.isinf(path.lower[:6]).all()
    assert path.lower[6:] == pytest.approx([-0.026031, -0.008390], abs=5e-7)
    assert path.upper[6:] == pytest.approx([0.091745, 0.070890], abs=5e-7)


def test_interval_of_equal_ticks_matches_the_published_vector() -> None:
    path = tick_t_path(X, np.full(8, 50.0), alpha=0.05)
    assert path.lower[6:] == pytest.approx([-0.021754, -0.005478], abs=5e-7)
    assert path.upper[6:] == pytest.approx([0.090326, 0.070478], abs=5e-7)


def test_log_e_value_matches_the_published_vector() -> None:
    expected = [0, 0.113461, -0.069859, 0.189058, 0.541311, 0.898205, 1.439201, 1.812471]
    assert tick_t_log_e(X, N, 0.0) == pytest.approx(expected, abs=5e-7)


@given(
    st.lists(st.floats(-1, 1), min_size=12, max_size=40, unique=True),
    st.floats(0.01, 0.2),
)
def test_a_mean_leaves_the_interval_when_its_e_value_reaches_the_level(
    means: list[float], alpha: float
) -> None:
    """The bounds are where the two-sided e-value is exactly 1 / 2α."""
    x, n = np.array(means), np.linspace(20, 60, len(means))
    shown = tick_t(x, n, alpha=alpha)
    if shown.lower is None or shown.upper is None or shown.upper - shown.lower < 1e-6:
        return
    for bound in (shown.lower, shown.upper):
        assert tick_t_log_e(x, n, bound)[-1] == pytest.approx(-np.log(2 * alpha), abs=1e-5)


def test_the_interval_moves_with_the_data_and_scales_with_it() -> None:
    there = tick_t(1e6 + 3.0 * X, N, alpha=0.05)
    here = tick_t(X, N, alpha=0.05)
    assert here.lower is not None
    assert there.lower == pytest.approx(1e6 + 3.0 * here.lower, abs=1e-6)


def test_no_ticks_and_identical_models_are_answered() -> None:
    nothing = tick_t(np.empty(0), np.empty(0), alpha=0.05)
    assert (nothing.mean, nothing.lower, nothing.half_width) == (None, None, None)
    same = tick_t(np.zeros(30), np.full(30, 20.0), alpha=0.05)
    assert (same.lower, same.upper) == (0.0, 0.0)
    assert np.isfinite(tick_t_log_e(np.zeros(5), np.ones(5), 0.0)).all()


def test_peeking_after_every_tick_errs_no_more_than_stated() -> None:
    """2,000 runs of 100 Gaussian ticks: α=.05 a side, excursions on either side at most .10."""
    rng = np.random.default_rng(7)
    misses = 0
    for _ in range(2000):
        path = tick_t_path(rng.normal(size=100), np.full(100, 30.0), alpha=0.05)
        misses += bool(((path.lower > 0) | (path.upper < 0)).any())
    assert misses / 2000 <= 0.10 + 3 * np.sqrt(0.1 * 0.9 / 2000)
