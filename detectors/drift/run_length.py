"""Set the knob of a named detector by simulation, so that its false alarms are as rare as asked.

A knob of a textbook detector is no false-alarm rate: matched to the same average run length,
ADWIN's delta is .19 on independent numbers and .0001 on autocorrelated ones. Here the detector is
run on no-change paths made from the reference itself, and its knob is moved until it fires once
in as many ticks as asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaincinv

from detectors.base import Detector, State, make_detector
from detectors.records import Budget, FloatArray, NamedDetector, Tier

MIN_REFERENCE_TICKS = 30

SAFETY = 2.5
"""A path made from the reference does not know the reference's own error, which makes real run
lengths shorter by about this factor."""

TICKS_PER_TRY = 20_000
TRIES = 8


@dataclass(frozen=True, slots=True)
class RunLength:
    """Ticks between false alarms in the simulation, with a 95 % Poisson interval."""

    ticks: float
    low: float
    high: float
    target: float

    @property
    def reached(self) -> bool:
        return self.high >= self.target


def target_ticks(budget: Budget, tick_us: int, *, share: float = 1.0) -> float:
    """How rare, in ticks, alarms must be for a stream with this share of the ticket budget."""
    return SAFETY * budget.threshold_hours(Tier.TICKET) * 3.6e9 / tick_us / share


def calibrate(
    named: NamedDetector, reference: FloatArray, target: float, *, seed: int = 0
) -> tuple[NamedDetector, RunLength] | None:
    """The detector with its knob set so that it fires once in `target` ticks if nothing changes.

    reference (ticks,) are values of the followed number without NaN. Every replicate draws its
    own reference as well as its path, by stationary bootstrap (Politis and Romano 1994), and is
    standardised by it. The knob is bisected on a log scale. Deterministic for a seed. None if
    there are fewer than 30 reference ticks, or they are all alike: nothing to simulate from.
    """
    if len(reference) < MIN_REFERENCE_TICKS or np.ptp(reference) == 0:
        return None
    paths = _null_paths(reference, target, seed)
    quiet, loud = (math.log(end) for end in type(make_detector(named)).knob_range)
    best = _with_knob(named, math.exp(quiet))
    best_length = run_length(make_detector(best), paths, target)
    for _ in range(TRIES - 1):
        middle = (quiet + loud) / 2
        tried = _with_knob(named, math.exp(middle))
        length = run_length(make_detector(tried), paths, target)
        if length.ticks >= target:
            quiet, best, best_length = middle, tried, length
        else:
            loud = middle
    return best, best_length


def run_length(
    detector: Detector[State], paths: list[tuple[FloatArray, FloatArray]], target: float
) -> RunLength:
    """Run over pairs of a reference and a path, both standardised; alarms restart the detector."""
    alarms = ticks = 0
    for reference, path in paths:
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


def _with_knob(named: NamedDetector, value: float) -> NamedDetector:
    knob = type(make_detector(named)).knob
    return replace(named, options={**named.options, knob: value})


def _null_paths(
    reference: FloatArray, target: float, seed: int
) -> list[tuple[FloatArray, FloatArray]]:
    rng = np.random.default_rng(seed)
    ticks = int(min(TICKS_PER_TRY, max(1000.0, 2 * target)))
    block = max(5.0, len(reference) ** 0.5)
    paths = []
    for _ in range(max(1, TICKS_PER_TRY // ticks)):
        own = _resampled(reference, len(reference), block, rng)
        centre, scale = standardiser(own)
        path = _resampled(reference, ticks, block, rng)
        paths.append(((own - centre) / scale, (path - centre) / scale))
    return paths


def standardiser(reference: FloatArray) -> tuple[float, float]:
    """Mean and sd of the reference ticks; an sd of zero becomes one."""
    if not len(reference):
        return 0.0, 1.0
    sd = float(np.std(reference))
    return float(np.mean(reference)), sd if sd > 0 and math.isfinite(sd) else 1.0


def _resampled(
    series: FloatArray, ticks: int, block: float, rng: np.random.Generator
) -> FloatArray:
    """Blocks of the series of geometric length, joined, read in a circle."""
    fresh = rng.random(ticks) < 1 / block
    fresh[0] = True
    starts = rng.integers(0, len(series), size=ticks)
    since = np.arange(ticks) - np.maximum.accumulate(np.where(fresh, np.arange(ticks), 0))
    at = starts[np.arange(ticks) - since] + since
    drawn: FloatArray = series[at % len(series)]
    return drawn
