"""Follow one signal with a named detector, tick after tick, and file a ticket when it fires."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np

from detectors.base import JsonValue, State, make_detector
from detectors.drift.run_length import RunLength, calibrate
from detectors.drift.vector_state import numbers
from detectors.drift.whitening import (
    SignalTicks,
    Whitener,
    fit_whitener,
    signal_ticks,
    whiten,
    whiten_ticks,
)
from detectors.records import Finding, FloatArray, NamedDetector, Tier, to_datetime

FOLLOW_VERSION = 2
"""Goes up when a saved state no longer means what it meant."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A named detector on one signal with its memory; a value, saved as JSON.

    `model` takes season and memory out of the signal; it is the reference's, frozen. `run_length`
    is what the calibration realised; None if there was none.
    """

    named: NamedDetector
    model: Whitener
    state: State
    run_length: RunLength | None = field(default=None)

    @property
    def stream(self) -> str:
        return f"{self.named.signal}.{self.named.method}"

    def to_json(self) -> dict[str, JsonValue]:
        model: dict[str, JsonValue] = {**asdict(self.model), "beta": list(self.model.beta)}
        length: dict[str, JsonValue] | None = None
        if self.run_length is not None:
            length = asdict(self.run_length)
            length["high"] = length["high"] if math.isfinite(self.run_length.high) else None
        return {
            "method": self.named.method,
            "signal": self.named.signal,
            "options": dict(self.named.options),
            "model": model,
            "state": self.state.to_json(),
            "run_length": length,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, JsonValue]) -> Followed:
        """Raises KeyError, TypeError or ValueError if `saved` is no such record."""
        options, state, length = saved["options"], saved["state"], saved["run_length"]
        if not isinstance(options, dict) or not isinstance(state, dict):
            raise TypeError("options and state of a followed signal must be objects")
        named = NamedDetector(
            str(saved["method"]),
            str(saved["signal"]),
            {name: _number(value) for name, value in options.items()},
        )
        return cls(
            named=named,
            model=_model(saved["model"]),
            state=type(make_detector(named)).state_type.from_json(state),
            run_length=_run_length(length) if isinstance(length, dict) else None,
        )


def start_following(
    named: NamedDetector,
    reference: FloatArray | SignalTicks,
    *,
    target_ticks: float | None = None,
    seed: int = 0,
) -> Followed:
    """Freeze season, memory and scale on the reference ticks and show them to the detector.

    Plain numbers (ticks,) follow one another, NaN being a tick without data. With `target_ticks`
    the detector's knob is set by simulation to one false alarm in so many ticks, which replaces
    the knob in `named.options`. Raises UnknownDetectorError or ValueError for a setting that
    cannot be.
    """
    ticks = reference if isinstance(reference, SignalTicks) else signal_ticks(reference)
    length = None
    if target_ticks is not None:
        found = calibrate(named, ticks, target_ticks, seed=seed)
        if found is not None:
            named, length = found
    shown, model = whiten_ticks(fit_whitener(ticks), ticks)
    state = make_detector(named).start(shown[np.isfinite(shown)])
    return Followed(named, model, state, length)


def follow(
    followed: Followed, start_us: int, end_us: int, value: float, variance: float = 1.0
) -> tuple[Followed, Finding | None]:
    """Take in the signal's value in one tick; a tick without data (NaN) changes nothing.

    `variance` is the value's sampling variance where the reference ticks had theirs.
    """
    if not math.isfinite(value) or not math.isfinite(variance):
        return followed, None
    away = value - float(followed.model.season(np.array([start_us], np.int64))[0])
    model, innovation = whiten(followed.model, start_us, value, variance)
    if not math.isfinite(innovation):
        return followed, None
    state, fired = make_detector(followed.named).step(followed.state, innovation)
    following = replace(followed, state=state, model=model)
    if not fired:
        return following, None
    sds = away / model.spread
    return following, Finding(
        kind=followed.named.method,
        ts=to_datetime(end_us),
        onset=to_datetime(start_us),
        stream=followed.stream,
        tier=Tier.TICKET,
        column="" if followed.named.signal in ("score", "loss") else followed.named.signal,
        effect=sds,
        detail=(
            f"{followed.named.method} fired on {followed.named.signal}, now {sds:+.1f} sd of a "
            f"tick from the reference; {promise_words(followed.run_length)}"
        ),
    )


def promise_words(length: RunLength | None) -> str:
    """How far a calibrated detector may be trusted, in words."""
    if length is None:
        return "uncalibrated, outside the alarm budget"
    most = f"{length.high:,.0f}" if math.isfinite(length.high) else "more"
    rate = f"one false alarm in {length.ticks:,.0f} ticks ({length.low:,.0f} to {most})"
    if not length.reached:
        return f"outside the alarm budget: set as quiet as it goes, {rate} by simulation"
    how = "extrapolated from simulation" if length.extrapolated else "by simulation"
    return f"{rate} {how} on the reference"


def _number(value: JsonValue) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


def _model(saved: JsonValue) -> Whitener:
    if not isinstance(saved, dict):
        raise TypeError(f"the model of a followed signal must be an object, not {saved!r}")
    last = saved["last_us"]
    plain = {
        item.name: _number(saved[item.name])
        for item in fields(Whitener)
        if item.name not in {"beta", "tick_us", "last_us"}
    }
    return Whitener(
        tick_us=int(_number(saved["tick_us"])),
        beta=numbers(saved["beta"]),
        last_us=None if last is None else int(_number(last)),
        **plain,
    )


def _run_length(saved: Mapping[str, JsonValue]) -> RunLength:
    high = saved["high"]
    return RunLength(
        ticks=_number(saved["ticks"]),
        low=_number(saved["low"]),
        high=math.inf if high is None else _number(high),
        target=_number(saved["target"]),
        extrapolated=bool(saved.get("extrapolated", False)),
    )
