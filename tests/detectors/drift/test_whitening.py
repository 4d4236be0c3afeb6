"""Season and memory taken out of a number: known truths come back, and what is left is white."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import make_detector
from detectors.drift.follow import start_following
from detectors.drift.run_length import calibrate, null_paths, run_length
from detectors.drift.whitening import (
    SignalTicks,
    Whitener,
    fit_whitener,
    signal_ticks,
    simulate,
    whiten,
    whiten_ticks,
)
from detectors.records import HOUR_US, FloatArray, NamedDetector


def remembered(rng: np.random.Generator, phi: float, ticks: int) -> FloatArray:
    """AR(1) with t5 innovations of sd 1."""
    out = np.zeros(ticks)
    for tick, kick in enumerate(rng.standard_t(5, ticks) / np.sqrt(5 / 3)):
        out[tick] = phi * out[tick - 1] + kick if tick else kick
    return out


def hours(values: FloatArray, first: int = 0) -> SignalTicks:
    starts = (first + np.arange(len(values), dtype=np.int64)) * HOUR_US
    return signal_ticks(values, np.full(len(values), 0.01), starts, tick_us=HOUR_US)


def test_the_filter_is_that_of_the_published_vector() -> None:
    """METHODS 2.3: r, v, phi .8 and noise .005 give these innovations."""
    r = np.array([0.1, -0.05, 0.2, 0.3, 0.25])
    v = np.array([0.01, 0.02, 0.01, 0.01, 0.04])
    model = Whitener(0, (0.0,), 0.8, 0.005, 1.0, 1.0, variance=0.005 / (1 - 0.64))
    expected = [0.646997, -0.569483, 1.355138, 1.63096, 0.490178]
    z, _ = whiten_ticks(model, SignalTicks(np.arange(5), r, v, 0))
    assert z == pytest.approx(expected, abs=1e-6)
    for at in range(5):
        model, one = whiten(model, at, float(r[at]), float(v[at]))
        assert one == pytest.approx(expected[at], abs=1e-6)


def test_what_is_left_of_a_season_with_memory_is_white() -> None:
    rng = np.random.default_rng(1)
    ticks = 24 * 42
    season = 1.5 * np.sin(2 * np.pi * np.arange(ticks) / 24)
    y = 5.0 + season + 0.3 * remembered(rng, 0.8, ticks)
    model = fit_whitener(hours(y[: 24 * 28]))
    z, _ = whiten_ticks(model, hours(y[: 24 * 28]))
    later, _ = whiten_ticks(model, hours(y, 0))
    later = later[24 * 28 :]
    assert 0.65 <= model.phi <= 0.95
    assert float(np.std(z)) == pytest.approx(1.0, abs=0.01)
    assert float(np.std(later)) == pytest.approx(1.0, abs=0.15)
    assert abs(float(np.corrcoef(later[1:], later[:-1])[0, 1])) < 0.15


def test_a_path_made_of_innovations_gives_them_back() -> None:
    rng = np.random.default_rng(2)
    model = fit_whitener(hours(remembered(rng, 0.6, 24 * 21)))
    z = rng.normal(size=200)
    starts = np.arange(200, dtype=np.int64) * HOUR_US
    path = simulate(model, starts, np.full(200, 0.01), z)
    back, _ = whiten_ticks(model, SignalTicks(starts, path, np.full(200, 0.01), HOUR_US))
    assert back == pytest.approx(z, abs=1e-9)


def test_a_lasting_shift_stays_in_every_later_innovation() -> None:
    rng = np.random.default_rng(3)
    y = remembered(rng, 0.7, 24 * 40)
    model = fit_whitener(hours(y[: 24 * 28]))
    shifted = y.copy()
    shifted[24 * 28 :] += 4.0
    quiet = whiten_ticks(model, hours(y))[0][24 * 28 + 50 :]
    moved = whiten_ticks(model, hours(shifted))[0][24 * 28 + 50 :]
    assert 0.4 < float(np.mean(moved - quiet)) < 3.0


def test_a_run_length_calibrated_on_one_reference_holds_on_other_worlds_with_memory() -> None:
    """The budget asks for 250 ticks and 2.5 times as many are aimed at; references are refitted."""
    rng = np.random.default_rng(4)
    named = NamedDetector("cusum", "score")
    found = calibrate(named, hours(remembered(rng, 0.6, 24 * 14)), 625.0)
    assert found is not None
    named, length = found
    assert length.low <= 625 <= length.high
    assert not length.extrapolated
    worlds = []
    for _ in range(25):
        y = remembered(rng, 0.6, 24 * 14 + 1500)
        model = fit_whitener(hours(y[: 24 * 14]))
        z, _ = whiten_ticks(model, hours(y))
        worlds.append((z[: 24 * 14], z[24 * 14 :]))
    realised = run_length(make_detector(named), worlds, 250.0)
    assert realised.high > 250


def test_a_run_length_beyond_the_simulation_is_read_off_a_line_and_says_so() -> None:
    rng = np.random.default_rng(5)
    reference = hours(remembered(rng, 0.3, 24 * 14))
    found = calibrate(NamedDetector("cusum", "score"), reference, 20_000.0)
    assert found is not None
    named, length = found
    assert length.extrapolated
    assert length.ticks == pytest.approx(20_000, rel=0.01)
    paths = [pair for seed in range(1, 9) for pair in null_paths(reference, seed)]
    told = run_length(make_detector(named), paths, 20_000.0)
    assert 20_000 / 4 < told.ticks < 20_000 * 4
    followed = start_following(NamedDetector("cusum", "x"), reference, target_ticks=20_000.0)
    assert followed.run_length == length


def test_every_replicate_is_judged_by_a_fit_of_its_own_reference() -> None:
    """Its own fit makes a reference's innovations have an sd of one exactly, its path's not."""
    paths = null_paths(hours(remembered(np.random.default_rng(6), 0.8, 24 * 7)), 0)
    own = [float(np.std(reference)) for reference, _ in paths]
    later = [float(np.std(path)) for _, path in paths]
    assert own == pytest.approx([1.0] * len(paths), abs=1e-6)
    assert float(np.std(later)) > 0.01
