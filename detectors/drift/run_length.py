"""Set the knob of a named detector by simulation, so that its false alarms are as rare as asked.

A knob of a textbook detector is no false-alarm rate: matched to the same average run length,
ADWIN's delta is .19 on independent numbers and .0001 on autocorrelated ones. Here the detector is
run on no-change paths of the reference's own season and memory, driven by its own innovations.
Every replicate draws its own reference, fits season and memory on it anew and judges its path by
that fit, because a fit's error is what makes real run lengths short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaincinv

from detectors.base import Detector, State, make_detector
from detectors.drift.whitening import (
    FEWEST_TICKS,
    SignalTicks,
    fit_whitener,
    simulate,
    whiten_ticks,
)
from detectors.records import Budget, FloatArray, NamedDetector, Tier

SAFETY = 2.5
"""Aim so many times higher than the budget asks: a simulated world is a little kinder than the
real one even when every replicate refits (METHODS 2.4)."""

TICKS_PER_TRY = 24_000
REPLICATES = 12
TRIES = 9
FEWEST_ALARMS = 12
"""A run length is solved for in the simulation where it would see so many alarms; a longer one is
extrapolated, log run length being nearly linear in log knob."""

SPREAD = 4.0
"""The second run length of an extrapolation is so many times shorter than the first."""


@dataclass(frozen=True, slots=True)
class RunLength:
    """Ticks between false alarms in the simulation, with a 95 % Poisson interval.

    `extrapolated`: the simulation was too short to see such a run length, and it is read off the
    line through two shorter ones.
    """

    ticks: float
    low: float
    high: float
    target: float
    extrapolated: bool = False

    @property
    def reached(self) -> bool:
        return self.high >= self.target


Paths = Sequence[tuple[FloatArray, FloatArray]]


def target_ticks(budget: Budget, tick_us: int, *, share: float = 1.0) -> float:
    """How rare, in ticks, alarms must be for a stream with this share of the ticket budget."""
    return SAFETY * budget.threshold_hours(Tier.TICKET) * 3.6e9 / tick_us / share


def calibrate(
    named: NamedDetector, reference: SignalTicks, target: float, *, seed: int = 0
) -> tuple[NamedDetector, RunLength] | None:
    """The detector with its knob set so that it fires once in `target` ticks if nothing changes.

    The knob is bisected on a log scale. Deterministic for a seed. None if there are fewer than 30
    reference ticks, or they are all alike: nothing to simulate from.
    """
    values = reference.seen
    if len(values) < FEWEST_TICKS or np.ptp(values) == 0:
        return None
    paths = null_paths(reference, seed)
    longest = sum(len(path) for _, path in paths) / FEWEST_ALARMS
    if target <= longest:
        knob, length = _solve(named, paths, target, target)
        return _with_knob(named, knob), length
    knob, length = _solve(named, paths, longest, target)
    shorter_knob, shorter = _solve(named, paths, longest / SPREAD, target)
    further = _extrapolated(named, (shorter_knob, shorter), (knob, length), target)
    return (_with_knob(named, knob), length) if further is None else further


def run_length(detector: Detector[State], paths: Paths, target: float) -> RunLength:
    """Run over pairs of a reference and a path, both standardised; alarms restart the detector."""
    alarms = ticks = 0
    quick = getattr(detector, "alarms", None)
    for reference, path in paths:
        if quick is not None:
            alarms += quick(reference, path)
        else:
            state = detector.start(reference)
            for value in path.tolist():
                state, fired = detector.step(state, value)
                alarms += fired
        ticks += len(path)
    most = float(gammaincinv(alarms + 1, 0.975))
    least = float(gammaincinv(alarms, 0.025)) if alarms else 0.0
    return RunLength(
        ticks=ticks / max(alarms, 0.5),
        low=ticks / most,
        high=ticks / least if least else math.inf,
        target=target,
    )


def null_paths(reference: SignalTicks, seed: int) -> list[tuple[FloatArray, FloatArray]]:
    """Innovations of drawn references and of what follows them, each judged by its own fit.

    A world is the fitted season and memory with innovations drawn from the reference's own; the
    sampling variances repeat in the reference's order.
    """
    rng = np.random.default_rng(seed)
    world = fit_whitener(reference)
    z, _ = whiten_ticks(world, reference)
    z = z[np.isfinite(z)]
    z = z - z.mean()
    own = len(reference)
    ticks = max(TICKS_PER_TRY // REPLICATES, 200)
    step = reference.tick_us or 1
    starts = int(reference.starts_us[0]) + step * np.arange(own + ticks, dtype=np.int64)
    known = reference.v[np.isfinite(reference.v)]
    v = np.resize(np.where(np.isfinite(reference.v), reference.v, np.median(known)), own + ticks)
    blank = np.resize(~np.isfinite(reference.y) | ~np.isfinite(reference.v), own + ticks)
    found = []
    for _ in range(REPLICATES):
        path = simulate(world, starts, v, rng.choice(z, own + ticks))
        path[blank] = np.nan
        past = SignalTicks(starts[:own], path[:own], v[:own], reference.tick_us)
        live = SignalTicks(starts[own:], path[own:], v[own:], reference.tick_us)
        before, model = whiten_ticks(fit_whitener(past), past)
        after, _ = whiten_ticks(model, live)
        found.append((before[np.isfinite(before)], after[np.isfinite(after)]))
    return found


def _solve(
    named: NamedDetector, paths: Paths, aim: float, target: float
) -> tuple[float, RunLength]:
    """The loudest knob found whose run length is at least `aim`; else the quietest there is."""
    quiet, loud = (math.log(end) for end in type(make_detector(named)).knob_range)
    best, length = quiet, None
    for _ in range(TRIES):
        middle = (quiet + loud) / 2
        tried = run_length(make_detector(_with_knob(named, math.exp(middle))), paths, target)
        if tried.ticks >= aim:
            quiet, best, length = middle, middle, tried
        else:
            loud = middle
    if length is None:
        length = run_length(make_detector(_with_knob(named, math.exp(best))), paths, target)
    return math.exp(best), length


def _extrapolated(
    named: NamedDetector,
    first: tuple[float, RunLength],
    second: tuple[float, RunLength],
    target: float,
) -> tuple[NamedDetector, RunLength] | None:
    """The knob on the line through two run lengths; None if they tell no slope."""
    (near, short), (far, long) = first, second
    rise = math.log(long.ticks / short.ticks)
    run = math.log(far / near)
    if rise <= 0.0 or run == 0.0:
        return None
    reach = math.log(target / long.ticks) / rise
    quietest, loudest = type(make_detector(named)).knob_range
    lowest, highest = min(quietest, loudest), max(quietest, loudest)
    knob = min(max(math.exp(math.log(far) + run * max(reach, 0.0)), lowest), highest)
    gained = long.ticks * math.exp(rise * math.log(knob / far) / run)
    grown = gained / long.ticks
    length = RunLength(gained, long.low * grown, long.high * grown, target, extrapolated=True)
    return _with_knob(named, knob), length


def _with_knob(named: NamedDetector, value: float) -> NamedDetector:
    knob = type(make_detector(named)).knob
    return replace(named, options={**named.options, knob: value})
