"""The audit that decides whether rows may be judged one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2
from statsmodels.stats.diagnostic import acorr_ljungbox

from detectors.evidence.audit import audit, ljung_box


def test_the_test_of_ljung_and_box_agrees_with_statsmodels() -> None:
    z = np.random.default_rng(1).normal(size=300).cumsum()[::7]
    for lags in (1, 5, 10):
        theirs = acorr_ljungbox(z, lags=[lags])["lb_pvalue"].iloc[0]
        assert ljung_box(z, lags) == pytest.approx(float(theirs), rel=1e-9)


def test_independent_rows_pass_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(2)
    rows = rng.poisson(200, (400, 120)) + 1
    passed = [audit(rng.normal(size=120) / np.sqrt(n), 1.0 / n).passed for n in rows]
    inside = chi2.cdf(1.25 * 119, 119) - chi2.cdf(0.8 * 119, 119)
    assert np.mean(passed) == pytest.approx(0.99 * inside, abs=0.03)


def test_a_season_a_memory_or_wild_ticks_do_not_pass_and_say_why() -> None:
    rng = np.random.default_rng(3)
    v = np.full(240, 0.01)
    noise = rng.normal(0, 0.1, 240)
    season = noise + 0.2 * np.sin(np.arange(240) * 2 * np.pi / 24)
    walk = np.convolve(rng.normal(0, 0.1, 260), [0.6, 0.55, 0.5], "valid")[:240]
    assert "scatter more" in audit(season, v).words
    assert "remember each other" in audit(walk, v).words
    assert "scatter less" in audit(noise / 2, v).words
    assert not audit(season, v).passed
    assert audit(noise, v).passed


def test_too_few_ticks_allow_nothing() -> None:
    v = np.full(100, 0.01)
    v[19:] = np.inf
    found = audit(np.zeros(100), v)
    assert not found.passed
    assert "only 19 reference ticks" in found.words
