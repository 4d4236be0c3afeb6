"""What every named detector must do, whoever wrote it: run over the whole catalog."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest

import detectors.base as base
from detectors.base import (
    Detector,
    JsonValue,
    State,
    UnknownDetectorError,
    catalog,
    detector,
    make_detector,
)
from detectors.drift.follow import Followed, follow, start_following
from detectors.records import FloatArray, NamedDetector

SLOW = {"eddm": 150}
"""Ticks that a shift of two sds may take; 25 for the others. EDDM averages over all it has seen."""

every = pytest.mark.parametrize("method", sorted(catalog()))


def made(method: str) -> Detector[State]:
    return make_detector(NamedDetector(method, "score"))


def stream(seed: int = 1, shift: float = 2.0) -> FloatArray:
    """Two hundred quiet ticks, then two hundred shifted ones."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=200), rng.normal(shift, 1, 200)])


def fired_at(method: str, values: FloatArray, reference: FloatArray) -> list[int]:
    following = made(method)
    state = following.start(reference)
    found = []
    for tick, value in enumerate(values.tolist()):
        state, fired = following.step(state, value)
        if fired:
            found.append(tick)
    return found


@every
def test_it_has_a_name_a_knob_that_is_an_option_and_a_state_it_can_save(method: str) -> None:
    cls = catalog()[method]
    assert cls.name == method
    assert cls.knob in {field.name for field in fields(cls)}  # type: ignore[arg-type]
    assert isinstance(made(method), Detector)
    state = made(method).start(stream())
    assert cls.state_type.from_json(json.loads(json.dumps(state.to_json()))) == state


@every
def test_it_finds_a_shift_of_two_sds_and_says_nothing_before(method: str) -> None:
    found = fired_at(method, stream(), np.random.default_rng(9).normal(size=300))
    assert found
    assert 200 <= found[0] <= 200 + SLOW.get(method, 25)


@every
def test_saving_and_loading_at_every_cut_changes_nothing(method: str) -> None:
    following, values = made(method), stream().tolist()
    reference = np.random.default_rng(9).normal(size=50)
    straight = fired_at(method, stream(), reference)
    state = following.start(reference)
    found = []
    for tick, value in enumerate(values):
        saved = json.loads(json.dumps(state.to_json()))
        state, fired = following.step(type(state).from_json(saved), value)
        if fired:
            found.append(tick)
    assert found == straight


@every
def test_a_state_is_a_value_that_later_steps_of_another_branch_leave_alone(method: str) -> None:
    """Nothing of an earlier state may be changed by what came after it."""
    following = made(method)
    state = following.start(np.zeros(0))
    for value in stream()[:150].tolist():
        state, _ = following.step(state, value)
    saved = json.dumps(state.to_json())
    branch = state
    for value in (3.0, -3.0) * 15:
        branch, _ = following.step(branch, value)
    assert json.dumps(state.to_json()) == saved
    reloaded = type(state).from_json(json.loads(saved))
    for value in stream()[150:].tolist():
        state, fired = following.step(state, value)
        reloaded, expected = following.step(reloaded, value)
        assert (state, fired) == (reloaded, expected)


@every
def test_the_reference_is_not_kept_and_not_changed(method: str) -> None:
    reference = stream()
    copy = reference.copy()
    state = made(method).start(reference)
    saved = json.dumps(state.to_json())
    assert np.array_equal(reference, copy)
    reference += 100
    assert json.dumps(state.to_json()) == saved


@every
def test_memory_is_bounded(method: str) -> None:
    following = made(method)
    state = following.start(np.zeros(0))
    rng = np.random.default_rng(3)
    for value in (0.1 * rng.normal(size=9000)).tolist():
        state, _ = following.step(state, value)
    assert len(json.dumps(state.to_json())) < 120_000


@every
def test_its_short_cut_counts_the_alarms_that_stepping_finds(method: str) -> None:
    """Calibration runs long paths through `alarms` where a detector has one."""
    reference = np.random.default_rng(9).normal(size=120)
    values = np.concatenate([stream(2), stream(3, shift=-3.0), stream(4, shift=4.0)])
    quick = getattr(made(method), "alarms", None)
    if quick is not None:
        assert quick(reference, values) == len(fired_at(method, values, reference)) > 1
        assert quick(np.zeros(0), values) == len(fired_at(method, values, np.zeros(0)))


@every
def test_the_same_values_fire_at_the_same_ticks_every_time(method: str) -> None:
    """What is random in a detector comes from its own seed."""
    reference = np.random.default_rng(9).normal(size=120)
    first = fired_at(method, stream(6), reference)
    np.random.default_rng().normal(size=5)
    assert fired_at(method, stream(6), reference) == first


@every
def test_ticks_without_data_change_nothing_and_a_cut_of_the_history_changes_no_bit(
    method: str,
) -> None:
    rng = np.random.default_rng(11)
    reference = rng.normal(40, 3, 100)
    followed = start_following(NamedDetector(method, "price"), reference)
    for hour, value in enumerate(rng.normal(44, 3, 60).tolist()):
        for empty in ((float("nan"), 1.0), (value, float("inf"))):
            assert follow(followed, hour, hour + 1, *empty) == (followed, None)
        reloaded = Followed.from_json(json.loads(json.dumps(followed.to_json())))
        assert reloaded == followed
        straight, found = follow(followed, hour, hour + 1, value)
        followed, again = follow(reloaded, hour, hour + 1, value)
        assert (followed, again) == (straight, found)


@every
def test_a_reference_of_one_value_or_none_is_followed_without_an_alarm(method: str) -> None:
    for reference in (np.zeros(0), np.full(60, 7.0), np.full(60, np.nan), np.array([7.0])):
        followed = start_following(NamedDetector(method, "price"), reference, target_ticks=500.0)
        assert followed.run_length is None
        for hour in range(60):
            followed, finding = follow(followed, hour, hour + 1, 7.0)
            assert finding is None


@every
def test_it_is_quiet_on_constant_input(method: str) -> None:
    assert fired_at(method, np.zeros(1000), np.zeros(100)) == []


@every
def test_after_firing_it_learns_the_new_level(method: str) -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(size=300), rng.normal(6, 1, 300)])
    found = [tick for tick in fired_at(method, values, rng.normal(size=300)) if tick >= 330]
    assert found == [] or (method in SLOW and len(found) == 1)


@every
def test_a_saved_state_that_is_none_is_refused(method: str) -> None:
    load = catalog()[method].state_type.from_json
    states: list[dict[str, JsonValue]] = [
        {},
        {"values": "abc"},
        {"values": [None]},
        {"up": [1.0], "down": ["nan"]},
        {"ticks": "many"},
    ]
    for broken in states:
        with pytest.raises((KeyError, TypeError, ValueError)):
            load(broken)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (NamedDetector("adwinn", "score"), "Did you mean 'adwin'"),
        (NamedDetector("adwin", "score", {"delte": 0.1}), "Did you mean 'delta'"),
        (NamedDetector("adwin", "score", {"delta": 2.0}), "between 0 and 1"),
        (NamedDetector("adwin", "score", {"clock": 0.5}), "whole number"),
        (NamedDetector("page_hinkley", "score", {"threshold": -1.0}), "threshold > 0"),
        (NamedDetector("page_hinkley", "score", {"alpha": 0.0}), "alpha"),
    ],
)
def test_a_wrong_setting_names_what_there_is(named: NamedDetector, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_detector(named)
    if "Did you mean" in words:
        with pytest.raises(UnknownDetectorError):
            make_detector(named)


@dataclass(frozen=True, slots=True)
class LastValue:
    value: float = 0.0

    def to_json(self) -> dict[str, JsonValue]:
        return {"value": self.value}

    @classmethod
    def from_json(cls, saved: dict[str, JsonValue]) -> LastValue:
        return cls(float(saved["value"]))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Shewhart:
    """The oldest of all: fire beyond `limit`."""

    name: ClassVar[str] = "shewhart"
    knob: ClassVar[str] = "limit"
    knob_range: ClassVar[tuple[float, float]] = (10.0, 1.0)
    state_type: ClassVar[type[LastValue]] = LastValue

    limit: float = 3.0

    def start(self, reference: FloatArray) -> LastValue:
        return LastValue(float(reference[-1]) if len(reference) else 0.0)

    def step(self, state: LastValue, value: float) -> tuple[LastValue, bool]:
        return LastValue(value), abs(value) > self.limit


@pytest.fixture
def clean_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REGISTERED", dict(base._REGISTERED))
    monkeypatch.setattr(base, "catalog", base.catalog.__wrapped__)


@pytest.mark.usefixtures("clean_catalog")
def test_an_installed_package_adds_a_detector_by_an_entry_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = EntryPoint("shewhart", f"{__name__}:Shewhart", base.ENTRY_POINTS)
    monkeypatch.setattr(base, "entry_points", lambda group: [entry])
    assert "shewhart" in base.catalog()
    made_of_it = base.make_detector(NamedDetector("shewhart", "score", {"limit": 2.0}))
    assert made_of_it.step(made_of_it.start(np.zeros(1)), 2.5)[1] is True


@pytest.mark.usefixtures("clean_catalog")
def test_a_broken_entry_point_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("broken", "no.such.module:Thing", base.ENTRY_POINTS)
    monkeypatch.setattr(base, "entry_points", lambda group: [entry])
    with pytest.raises(ImportError, match=r"'broken' \(no\.such\.module:Thing\)"):
        base.catalog()


@pytest.mark.usefixtures("clean_catalog")
def test_two_detectors_cannot_share_a_name() -> None:
    @dataclass(frozen=True)
    class Impostor:
        name: ClassVar[str] = "adwin"

    with pytest.raises(ValueError, match="two detectors are called 'adwin'"):
        detector(Impostor)
