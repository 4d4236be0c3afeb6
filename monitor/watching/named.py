"""Named detectors, switched on by hand, beside the budgeted evidence: they file tickets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detectors.drift.follow import (
    Followed,
    follow,
    promise_words,
    start_following,
)
from detectors.drift.run_length import target_ticks
from detectors.drift.whitening import signal_ticks
from detectors.records import Finding, FloatArray, IntArray, NamedDetector, StreamSpec
from monitor.errors import InputError, did_you_mean, shortened
from monitor.reports.forms import finite
from monitor.watching.watch import Watch

EVERY_COLUMN = "columns"
"""A signal that stands for all feature columns, each followed by a detector of its own."""

SIGNALS = {"score": "prediction.mean", "loss": "loss.mean"}
NAMED_SHARE = 0.1
"""Of the ticket budget, for all named detectors together, on top of what the evidence may use."""

COLUMN_STATISTICS = ("location", "mix", "spike_share")


def signals_of(watch: Watch) -> dict[str, str]:
    """What a named detector can follow, and the stream it reads: score, loss, feature columns."""
    ids = {spec.stream.id for spec in (*watch.feature_specs, *watch.label_specs)}
    found = {signal: stream for signal, stream in SIGNALS.items() if stream in ids}
    for column in watch.schema.columns:
        for statistic in COLUMN_STATISTICS:
            stream = f"column.{statistic}:{column.name}"
            if stream in ids:
                found.setdefault(column.name, stream)
    return found


def followed_signals(watch: Watch) -> tuple[NamedDetector, ...]:
    """The detectors of the settings, one a signal: `columns` stands for every feature column.

    Raises:
        InputError: for a signal the model does not have.
    """
    known = signals_of(watch)
    found: dict[str, NamedDetector] = {}
    for named in watch.settings.named:
        if named.signal == EVERY_COLUMN and EVERY_COLUMN not in known:
            every = [signal for signal in known if signal not in SIGNALS]
        elif named.signal in known:
            every = [named.signal]
        else:
            msg = (
                f"detector {named.method}: no signal '{named.signal}' in {watch.deployment}; it "
                f"has {shortened([*known, EVERY_COLUMN])}.{did_you_mean(named.signal, known)}"
            )
            raise InputError(msg)
        for signal in every:
            one = replace(named, signal=signal)
            found[_key(one)] = one
    return tuple(found.values())


def open_named(
    watch: Watch,
    specs: Sequence[StreamSpec],
    starts_us: IntArray,
    y: FloatArray,
    v: FloatArray,
    tick_us: int,
) -> dict[str, Any]:
    """Start the named detectors whose stream is among `specs` on reference ticks y, v (T, K).

    The knob is calibrated to the ticket budget by simulation on these ticks, where there are
    any. Returns their states by detector and signal, as JSON can hold them.

    Raises:
        InputError: for a signal the model does not have.
    """
    known, followed = signals_of(watch), followed_signals(watch)
    design_us = 0 if watch.settings.tick_rows is not None else tick_us
    started = {}
    for named in followed:
        place = _place(specs, known[named.signal])
        if place is not None:
            values = np.where(np.isfinite(v[:, place]), y[:, place], np.nan)
            ticks = signal_ticks(values, v[:, place], starts_us, tick_us=design_us)
            share = NAMED_SHARE / len(followed)
            target = (
                target_ticks(watch.settings.budget, tick_us, share=share) if len(values) else None
            )
            started[_key(named)] = start_following(named, ticks, target_ticks=target).to_json()
    return started


def run_lengths(states: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each named detector's calibration realised, for reports, lists and people."""
    found = []
    for saved in states.values():
        followed = Followed.from_json(saved)
        length = followed.run_length
        found.append(
            {
                "method": followed.named.method,
                "signal": followed.named.signal,
                "options": dict(followed.named.options),
                "run_length": None
                if length is None
                else {
                    "ticks": finite(length.ticks),
                    "low": finite(length.low),
                    "high": finite(length.high),
                    "target": finite(length.target),
                    "reached": length.reached,
                    "extrapolated": length.extrapolated,
                },
                "words": promise_words(length),
            }
        )
    return found


def step_named(
    watch: Watch,
    states: dict[str, Any],
    specs: Sequence[StreamSpec],
    y: FloatArray,
    v: FloatArray,
    start_us: int,
    instant_us: int,
) -> list[Finding]:
    """Show one tick, y and v (K,), to the detectors that follow one of its streams."""
    if not states:
        return []
    known = signals_of(watch)
    findings = []
    for named in followed_signals(watch):
        place = _place(specs, known.get(named.signal, ""))
        key = _key(named)
        if place is None or key not in states or not np.isfinite(v[place]):
            continue
        followed, finding = follow(
            Followed.from_json(states[key]),
            start_us,
            instant_us,
            float(y[place]),
            float(v[place]),
        )
        states[key] = followed.to_json()
        if finding is not None:
            findings.append(finding)
    return findings


def _place(specs: Sequence[StreamSpec], stream: str) -> int | None:
    places = [at for at, spec in enumerate(specs) if spec.stream.id == stream]
    return places[0] if places else None


def _key(named: NamedDetector) -> str:
    return f"{named.method}:{named.signal}"
