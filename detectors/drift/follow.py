"""Follow one signal with a named detector, tick after tick, and file a ticket when it fires."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.base import JsonValue, State, make_detector
from detectors.drift.run_length import RunLength, calibrate, standardiser
from detectors.records import Finding, FloatArray, NamedDetector, Tier, to_datetime


@dataclass(frozen=True, slots=True)
class Followed:
    """A named detector on one signal with its memory; a value, saved as JSON.

    `centre` and `scale` are the reference's mean and sd, frozen, so that drift cannot widen its
    own limits. `run_length` is what the calibration realised; None if there was none.
    """

    named: NamedDetector
    centre: float
    scale: float
    state: State
    run_length: RunLength | None = field(default=None)

    @property
    def stream(self) -> str:
        return f"{self.named.signal}.{self.named.method}"

    def to_json(self) -> dict[str, JsonValue]:
        length = self.run_length
        return {
            "method": self.named.method,
            "signal": self.named.signal,
            "options": dict(self.named.options),
            "centre": self.centre,
            "scale": self.scale,
            "state": self.state.to_json(),
            "run_length": None
            if length is None
            else [
                length.ticks,
                length.low,
                length.high if math.isfinite(length.high) else None,
                length.target,
            ],
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
            centre=_number(saved["centre"]),
            scale=_number(saved["scale"]),
            state=type(make_detector(named)).state_type.from_json(state),
            run_length=_run_length(length) if isinstance(length, list) else None,
        )


def start_following(
    named: NamedDetector, reference: FloatArray, *, target_ticks: float | None = None, seed: int = 0
) -> Followed:
    """Freeze the scale on the reference ticks (ticks,) and show them to the detector.

    NaN is a tick without data. With `target_ticks` the detector's knob is set by simulation to one
    false alarm in so many ticks, which replaces the knob in `named.options`. Raises
    UnknownDetectorError or ValueError for a setting that cannot be.
    """
    values = np.asarray(reference, float)
    values = values[np.isfinite(values)]
    length = None
    if target_ticks is not None:
        found = calibrate(named, values, target_ticks, seed=seed)
        if found is not None:
            named, length = found
    centre, scale = standardiser(values)
    state = make_detector(named).start((values - centre) / scale)
    return Followed(named, centre, scale, state, length)


def follow(
    followed: Followed, start_us: int, end_us: int, value: float
) -> tuple[Followed, Finding | None]:
    """Take in the signal's value in one tick; a tick without data (NaN) changes nothing."""
    if not math.isfinite(value):
        return followed, None
    sds = (value - followed.centre) / followed.scale
    if not math.isfinite(sds):
        return followed, None
    state, fired = make_detector(followed.named).step(followed.state, sds)
    following = replace(followed, state=state)
    if not fired:
        return following, None
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
            f"tick from the reference; {_promise(followed)}"
        ),
    )


def _promise(followed: Followed) -> str:
    length = followed.run_length
    if length is None:
        return "uncalibrated, outside the alarm budget"
    most = f"{length.high:,.0f}" if math.isfinite(length.high) else "more"
    rate = f"one false alarm in {length.ticks:,.0f} ticks ({length.low:,.0f} to {most})"
    if not length.reached:
        return f"outside the alarm budget: set as quiet as it goes, {rate} by simulation"
    return f"{rate} by simulation on the reference"


def _number(value: JsonValue) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


def _run_length(saved: list[JsonValue]) -> RunLength:
    ticks, low, high, target = saved
    most = math.inf if high is None else _number(high)
    return RunLength(_number(ticks), _number(low), most, _number(target))
