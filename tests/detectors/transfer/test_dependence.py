"""Ticks that follow each other, and what the interval makes of them."""

import numpy as np
import pytest
from scipy.signal import lfilter

from detectors.records import DAY_US, FloatArray, Task
from detectors.transfer.dependence import long_run_factors
from detectors.transfer.interval import tick_t_log_e, tick_t_path
from detectors.transfer.sums import TransferSums
from detectors.transfer.verdict import trajectory


def autoregressive(phi: float, runs: int, ticks: int, seed: int) -> FloatArray:
    """Stationary Gaussian AR(1) paths (runs, ticks) of variance 1, by an independent filter."""
    noise = np.random.default_rng(seed).normal(size=(runs, ticks + 100))
    path: FloatArray = lfilter([np.sqrt(1.0 - phi**2)], [1.0, -phi], noise, axis=1)[:, 100:]
    return path


@pytest.mark.parametrize("phi", [0.3, 0.5])
def test_the_factor_is_how_much_the_mean_of_a_path_varies_beyond_its_ticks(phi: float) -> None:
    """Against the variance of 4,000 means of 300 ticks, which knows no formula."""
    paths = autoregressive(phi, 4_000, 300, seed=1)
    wanted = 300 * paths.mean(axis=1).var()
    found = np.median([long_run_factors(path)[-1] for path in paths[:200]])
    assert found == pytest.approx(wanted, rel=0.1)


def test_independent_ticks_pay_little_and_no_interval_is_narrower() -> None:
    factors = np.array([long_run_factors(path) for path in autoregressive(0.0, 200, 120, seed=2)])
    assert factors.min() >= 1.0
    assert np.median(factors[:, -1]) < 1.1
    flat = long_run_factors(np.full(10, 0.3))
    assert flat[-1] == pytest.approx(1.1 / 0.9), "what cannot be seen is taken for the bias alone"


def test_the_e_value_reaches_the_level_where_the_wider_interval_ends() -> None:
    x, rows = autoregressive(0.5, 1, 40, seed=3)[0], np.linspace(20.0, 60.0, 40)
    factors = long_run_factors(x)
    path = tick_t_path(x, rows, alpha=0.05, factors=factors)
    for bound in (path.lower[-1], path.upper[-1]):
        assert tick_t_log_e(x, rows, bound, factors=factors)[-1] == pytest.approx(-np.log(0.1))


def test_days_that_follow_each_other_are_not_called_harm_more_often_than_promised() -> None:
    """800 histories of 180 days, AR(.5): at most 8 % may ever say what is not so."""
    false = 0
    for path in autoregressive(0.5, 800, 180, seed=4):
        rows = np.full(180, 50.0)
        sums = TransferSums(
            np.arange(180, dtype=np.int64) * DAY_US, rows, path * rows, rows, rows, rows
        )
        false += bool((trajectory(sums, task=Task.REGRESSION, alpha=0.04).lower > 0.0).any())
    assert false / 800 <= 0.08 + 2.0 * np.sqrt(0.08 * 0.92 / 800)
