"""ADWIN: keep a window as long as its halves agree (Bifet and Gavalda 2007), by river."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from detectors.base import JsonValue, State, detector
from detectors.records import FloatArray

if TYPE_CHECKING:
    from river.drift import ADWIN

MAX_TICKS = 4096
"""A longer memory is cut to its newer half and read again: 32 kB, half a year of hours."""


@dataclass(frozen=True, slots=True)
class AdwinState:
    """The values since the last change, oldest first, from which river's window is rebuilt.

    River saves its detectors only as pickles, which are never read from a database here. `live`
    spares the rebuilding while states follow one another: it serves only the state whose number
    of values it has been given, and is no part of the value.
    """

    values: tuple[float, ...] = ()
    live: _Live | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, JsonValue]:
        return {"values": list(self.values)}

    @classmethod
    def from_json(cls, saved: Mapping[str, JsonValue]) -> AdwinState:
        values = saved["values"]
        if not isinstance(values, list):
            raise TypeError(f"values of an ADWIN state must be a list, not {values!r}")
        return cls(tuple(_finite(value) for value in values[-MAX_TICKS:]))


@dataclass(slots=True)
class _Live:
    window: ADWIN
    given: int


@detector
@dataclass(frozen=True, slots=True)
class Adwin:
    """Fires when two parts of the window differ at confidence `delta`, checked every `clock` ticks.

    `delta` is no false-alarm rate: on independent numbers ADWIN is far quieter, on autocorrelated
    ones far louder. Calibrate it.
    """

    name: ClassVar[str] = "adwin"
    knob: ClassVar[str] = "delta"
    knob_range: ClassVar[tuple[float, float]] = (1e-12, 0.9)
    state_type: ClassVar[type[State]] = AdwinState

    delta: float = 0.002
    clock: float = 1
    min_window_length: float = 5
    grace_period: float = 10

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise ValueError(f"delta of adwin is {self.delta}; it must lie between 0 and 1")
        for option in ("clock", "min_window_length", "grace_period"):
            value = getattr(self, option)
            if value < 1 or not float(value).is_integer():
                raise ValueError(f"{option} of adwin is {value}; it must be a whole number >= 1")

    def start(self, reference: FloatArray) -> AdwinState:
        state = AdwinState()
        for value in reference:
            state, _ = self.step(state, float(value))
        return state

    def step(self, state: AdwinState, value: float) -> tuple[AdwinState, bool]:
        live = state.live
        if live is None or live.given != len(state.values):
            live = self._replayed(state.values)
        live.window.update(value)  # type: ignore[no-untyped-call]
        live.given += 1
        if live.window.drift_detected:
            return AdwinState(), True
        values = (*state.values, value)
        if len(values) <= MAX_TICKS:
            return AdwinState(values, live), False
        kept = values[-MAX_TICKS // 2 :]
        return AdwinState(kept), False

    def alarms(self, reference: FloatArray, path: FloatArray) -> int:
        """How often it fires on a path (T,), as stepping through it would."""
        if len(reference) + len(path) > MAX_TICKS:
            return self._stepped(reference, path)
        window, fired = self._replayed(()).window, 0
        for place, value in enumerate(np.concatenate([reference, path]).tolist()):
            window.update(value)  # type: ignore[no-untyped-call]
            if window.drift_detected:
                fired += place >= len(reference)
                window = self._replayed(()).window
        return fired

    def _stepped(self, reference: FloatArray, path: FloatArray) -> int:
        state, fired = self.start(reference), 0
        for value in path.tolist():
            state, alarm = self.step(state, value)
            fired += alarm
        return fired

    def _replayed(self, values: tuple[float, ...]) -> _Live:
        """A window that has been given `values`, of which none fired when they came."""
        from river.drift import ADWIN

        window = ADWIN(  # type: ignore[no-untyped-call]
            delta=self.delta,
            clock=int(self.clock),
            min_window_length=int(self.min_window_length),
            grace_period=int(self.grace_period),
        )
        for value in values:
            window.update(value)  # type: ignore[no-untyped-call]
        return _Live(window, len(values))


def _finite(value: JsonValue) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(f"an ADWIN state holds {value!r}, which is no number")
    return number
