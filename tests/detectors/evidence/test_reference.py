"""What a reference leaves behind for the filter, in numbers worked out beside it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import median_abs_deviation

from detectors.evidence.budget import pace_of
from detectors.evidence.design import Design
from detectors.evidence.fit import fit_stream
from detectors.evidence.grids import PHI_GRID
from detectors.evidence.reference import Learnt, learn_reference, ticks_from
from detectors.evidence.state import (
    ACTIVE,
    C_REF,
    GATE,
    NOISE,
    PHI,
    RESET,
    SCALE2,
    SHORT,
    WALK,
    steady_response,
)
from detectors.records import DAY_US, HOUR_US, FloatArray
from tests.detectors.evidence.streams import starts_of, wandering_streams

SIX_HOURS = Design(6 * HOUR_US)


def learnt_from(y: FloatArray, v: FloatArray, *, design: Design = SIX_HOURS) -> Learnt:
    ticks = ticks_from(design, starts_of(len(y), design.tick_us), y, v)
    return learn_reference(design, ticks, pace=pace_of(design), delta_min=np.full(y.shape[1], 0.2))


def test_the_model_is_that_of_the_cautious_memory() -> None:
    rng = np.random.default_rng(31)
    y, v = wandering_streams(rng, 200, 1, phi=0.8, sd=0.3)
    v = v * rng.uniform(0.5, 1.5, v.shape)
    y = 2.0 + 1.6 * y  # overdispersed: s has to leave its floor
    learnt = learnt_from(y, v)
    model = learnt.state.model[0]

    starts = starts_of(200, 6 * HOUR_US)
    middle = np.array([np.median(y), 0.0, 0.0, 0.0])
    fit = fit_stream(
        SIX_HOURS.columns(starts), y[:, 0], v[:, 0], middle, np.array([100.0, 0.3, 0.3, 0.3])
    )
    chosen = int(np.searchsorted(np.cumsum(learnt.phi_weights[0]), 0.8))
    phi, ratio, s2 = PHI_GRID[chosen], fit.ratio[chosen], fit.scale[chosen] ** 2
    sampling = float(np.median(v))
    assert s2 > 1.2
    assert model[PHI] == phi
    assert model[SCALE2] == pytest.approx(s2)
    assert model[NOISE] / (1 - phi**2) == pytest.approx(ratio * sampling * s2)
    assert model[RESET] == pytest.approx(4 * max(ratio, 0.5) * sampling * s2)
    assert model[GATE] == pytest.approx(0.2 * steady_response(phi, ratio))
    daily = y[:, 0].reshape(-1, 4).mean(axis=1)
    spread = 1.4826 * median_abs_deviation(daily)
    assert model[WALK] * 4 == pytest.approx((0.05 * spread) ** 2)


def test_trackers_start_from_the_last_three_quarters() -> None:
    y, v = wandering_streams(np.random.default_rng(32), 160, 2, phi=0.4)
    v[60:70, 1] = np.inf
    learnt = learnt_from(y, v)
    late = learnt.z[40:]
    assert_allclose(
        learnt.state.track[:, C_REF], np.nanmean(np.minimum(late**2, 9), axis=0), rtol=1e-12
    )
    assert_allclose(
        learnt.state.track[:, SHORT], np.nanmean(np.clip(late, -3, 3) ** 2, axis=0), rtol=1e-12
    )


def test_a_stream_bets_from_a_dozen_ticks_or_as_many_as_it_has_regressors() -> None:
    for design, enough in [(SIX_HOURS, 12), (Design(HOUR_US), 24), (Design(DAY_US), 12)]:
        y, v = wandering_streams(np.random.default_rng(33), 60, 2, phi=0.0)
        v[enough - 1 :, 0] = np.inf
        v[enough:, 1] = np.inf
        active = learnt_from(y, v, design=design).state.model[:, ACTIVE]
        assert active.tolist() == [0.0, 1.0]


def test_with_fewer_than_four_days_the_level_walks_by_the_spread_of_ticks() -> None:
    y, v = wandering_streams(np.random.default_rng(34), 12, 1, phi=0.0)
    spread = 1.4826 * median_abs_deviation(y[:, 0])
    learnt = learnt_from(y, v)
    assert learnt.state.model[0, WALK] * 4 == pytest.approx((0.05 * spread) ** 2)


def test_ticks_missing_from_a_reference_are_empty_ones() -> None:
    y, v = wandering_streams(np.random.default_rng(35), 120, 2, phi=0.7)
    v[50:58] = np.inf
    kept = np.r_[0:50, 58:120]
    starts = starts_of(120, 6 * HOUR_US)
    fewer = ticks_from(SIX_HOURS, starts[kept], y[kept], v[kept])
    gapped = learn_reference(SIX_HOURS, fewer, pace=pace_of(SIX_HOURS), delta_min=np.full(2, 0.2))
    filled = learnt_from(y, v)
    assert_allclose(gapped.phi_weights, filled.phi_weights, rtol=1e-6)
    assert_allclose(gapped.state.mean, filled.state.mean, rtol=1e-9)
    assert_allclose(gapped.state.cov, filled.state.cov, rtol=1e-9)
