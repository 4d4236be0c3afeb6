"""River's detectors as values: the same alarms as river itself, and a knob that keeps its word."""

from __future__ import annotations

import json

import numpy as np
import pytest
from river.drift import ADWIN
from river.drift import PageHinkley as RiverPageHinkley

import detectors.drift.run_length as simulation
from detectors.base import make_detector
from detectors.drift.follow import Followed, follow, start_following
from detectors.drift.named.adwin import MAX_TICKS, Adwin, AdwinState
from detectors.drift.named.page_hinkley import PageHinkley
from detectors.drift.run_length import calibrate, run_length, target_ticks
from detectors.drift.whitening import SignalTicks, signal_ticks
from detectors.records import DAY_US, HOUR_US, Budget, FloatArray, NamedDetector, Tier, to_us


def ticks(values: FloatArray) -> SignalTicks:
    return signal_ticks(values)


def steps(seed: int = 2) -> FloatArray:
    """A level that jumps every hundred ticks."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(0, 2, 8), 100) + rng.normal(size=800)


@pytest.fixture
def short_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "TICKS_PER_TRY", 6000)


def test_adwin_fires_when_rivers_own_does() -> None:
    ours, river = Adwin(), ADWIN(clock=1)  # type: ignore[no-untyped-call]
    state = ours.start(np.zeros(0))
    found, expected = [], []
    for tick, value in enumerate(steps().tolist()):
        state, fired = ours.step(state, value)
        river.update(value)  # type: ignore[no-untyped-call]
        if fired:
            found.append(tick)
        if river.drift_detected:
            expected.append(tick)
    assert found == expected
    assert len(found) >= 3


def test_page_hinkley_fires_when_rivers_own_does() -> None:
    ours = PageHinkley(threshold=12.0, delta=0.25, alpha=0.999, min_instances=20)
    river = RiverPageHinkley(threshold=12.0, delta=0.25, alpha=0.999, min_instances=20)
    state = ours.start(np.zeros(0))
    found, expected = [], []
    for tick, value in enumerate(steps().tolist()):
        state, fired = ours.step(state, value)
        river.update(value)  # type: ignore[no-untyped-call]
        if fired:
            found.append(tick)
        if river.drift_detected:
            expected.append(tick)
    assert found == expected
    assert len(found) >= 3


def test_a_long_memory_is_cut_to_its_newer_half() -> None:
    ours = Adwin(clock=MAX_TICKS)
    state = AdwinState(tuple(float(tick % 2) for tick in range(MAX_TICKS)))
    state, fired = ours.step(state, 7.0)
    assert not fired
    assert len(state.values) == MAX_TICKS // 2
    assert state.values[-1] == 7.0


def test_a_followed_signal_files_a_ticket_that_says_how_far_to_trust_it() -> None:
    rng = np.random.default_rng(1)
    followed = start_following(NamedDetector("adwin", "price"), rng.normal(50, 4, 200))
    finding = None
    for hour in range(60):
        value = float("nan") if hour == 3 else float(rng.normal(62, 4))
        followed, finding = follow(followed, hour * HOUR_US, (hour + 1) * HOUR_US, value)
        if finding is not None:
            break
    assert finding is not None
    assert (finding.kind, finding.tier, finding.column) == ("adwin", Tier.TICKET, "price")
    assert finding.stream == "price.adwin"
    assert to_us(finding.ts) - to_us(finding.onset) == HOUR_US
    assert finding.effect is not None
    assert finding.effect > 1
    assert "uncalibrated, outside the alarm budget" in finding.detail


@pytest.mark.usefixtures("short_simulation")
def test_what_is_followed_survives_json() -> None:
    reference = np.random.default_rng(3).normal(size=200)
    for method, target in (("adwin", None), ("page_hinkley", 200.0)):
        followed = start_following(NamedDetector(method, "score"), reference, target_ticks=target)
        followed, _ = follow(followed, 0, HOUR_US, 1.5)
        assert Followed.from_json(json.loads(json.dumps(followed.to_json()))) == followed


@pytest.mark.parametrize("reference", [np.zeros(0), np.full(50, 7.0), np.full(50, np.nan)])
def test_a_reference_that_says_nothing_is_followed_all_the_same(reference: FloatArray) -> None:
    followed = start_following(NamedDetector("page_hinkley", "loss"), reference, target_ticks=500.0)
    assert followed.run_length is None
    for hour in range(40):
        followed, finding = follow(followed, hour, hour + 1, 7.0)
        assert finding is None


@pytest.mark.usefixtures("short_simulation")
def test_a_calibrated_knob_keeps_its_run_length_on_fresh_independent_numbers() -> None:
    """It aims 2.5 times too high, because a reference of 300 ticks does not know its own mean."""
    rng = np.random.default_rng(4)
    found = calibrate(
        NamedDetector("page_hinkley", "score"), ticks(rng.normal(size=300)), 250.0, seed=1
    )
    assert found is not None
    named, length = found
    assert length.ticks == pytest.approx(250, rel=0.35)
    assert length.low < length.ticks < length.high
    fresh = [(rng.normal(size=300), rng.normal(size=2000)) for _ in range(6)]
    realised = run_length(make_detector(named), fresh, 250.0)
    assert realised.high > 100


@pytest.mark.usefixtures("short_simulation")
def test_calibration_is_the_same_for_the_same_seed() -> None:
    reference = ticks(np.random.default_rng(5).normal(size=100))
    named = NamedDetector("page_hinkley", "score")
    assert calibrate(named, reference, 100.0) == calibrate(named, reference, 100.0)


def test_the_target_is_two_and_a_half_times_the_ticket_threshold() -> None:
    assert target_ticks(Budget(), HOUR_US) == pytest.approx(180)
    assert target_ticks(Budget(), DAY_US, share=0.5) == pytest.approx(15)
