"""KSWIN: the newest ticks against a sample of the older ones (Raab et al. 2020), as in river."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from detectors.base import State, detector
from detectors.drift.river_twins import share, whole
from detectors.drift.vector_state import VectorState
from detectors.kernels import njit
from detectors.records import FloatArray

LONGEST = 1000
LEAST_DISTANCE = 0.1
"""River's: a distance of less is never an alarm."""


@detector
@dataclass(frozen=True, slots=True)
class Kswin:
    """Fires when the last `stat_size` of `window_size` ticks fail a Kolmogorov-Smirnov test.

    The same test as river's at the same sample of older ticks; the sample is drawn anew from
    `seed` and the count of ticks, so that a saved memory need not hold a generator. A change
    older than the window is forgotten, and only a few run lengths can be reached, because the
    distance of two small samples has few values: prefer another.
    """

    name: ClassVar[str] = "kswin"
    knob: ClassVar[str] = "alpha"
    knob_range: ClassVar[tuple[float, float]] = (1e-14, 0.5)
    state_type: ClassVar[type[State]] = VectorState

    alpha: float = 0.0001
    window_size: float = 100
    stat_size: float = 30
    seed: float = 0

    def __post_init__(self) -> None:
        share(self.name, "alpha", self.alpha)
        whole(self.name, "window_size", self.window_size, least=4)
        whole(self.name, "stat_size", self.stat_size, least=2)
        if self.window_size > LONGEST or 2 * self.stat_size > self.window_size:
            raise ValueError(
                f"kswin needs window_size <= {LONGEST} and stat_size at most half of it; it got "
                f"{self.window_size:g} and {self.stat_size:g}"
            )

    def start(self, reference: FloatArray) -> VectorState:
        """The newest reference ticks fill the window; they raise no alarm."""
        window = reference[-int(self.window_size) :].tolist()
        return VectorState((float(len(reference)), *window) if window else ())

    def step(self, state: VectorState, value: float) -> tuple[VectorState, bool]:
        size, newest = int(self.window_size), int(self.stat_size)
        count = (state.values[0] if state.values else 0.0) + 1.0
        window = (*state.values[1:], value)[-size:]
        if len(window) == size:
            held = np.array(window)
            drawn = sample(int(self.seed), int(count), size - newest, newest)
            if ks_distance(held[drawn], held[-newest:]) >= least_distance(self.alpha, newest):
                return VectorState(), True
        return VectorState((count, *window)), False

    def alarms(self, reference: FloatArray, path: FloatArray) -> int:
        """How often it fires on a path (T,), as stepping through it would."""
        values = np.concatenate([reference, path])
        newest = int(self.stat_size)
        return int(
            _alarms(
                values,
                len(reference),
                int(self.window_size),
                newest,
                int(self.seed),
                least_distance(self.alpha, newest),
            )
        )


@njit(cache=True, nogil=True)
def sample(seed, count, population, size):  # type: ignore[no-untyped-def]
    """Places (size,) of the older ticks that are compared at this one, without repeats.

    A partial shuffle driven by splitmix64 (Steele, Lea and Flood 2014) of seed and count.
    """
    places = np.arange(population)
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(count) * np.uint64(
        0xD1B54A32D192ED03
    )
    for i in range(size):
        state += np.uint64(0x9E3779B97F4A7C15)
        z = state
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        j = i + int(z % np.uint64(population - i))
        places[i], places[j] = places[j], places[i]
    return places[:size]


@njit(cache=True, nogil=True)
def ks_distance(first, second):  # type: ignore[no-untyped-def]
    """Largest gap of two distribution functions, for two samples of equal size."""
    size = first.shape[0]
    a, b = np.sort(first), np.sort(second)
    i = j = most = 0
    while i < size and j < size:
        at = min(a[i], b[j])
        while i < size and a[i] == at:
            i += 1
        while j < size and b[j] == at:
            j += 1
        most = max(most, abs(i - j))
    return most / size


@njit(cache=True, nogil=True)
def _alarms(values, known, size, newest, seed, least):  # type: ignore[no-untyped-def]
    """How often it fires on values (T,) after the first `known`, which only fill the window."""
    fired = 0
    begin = 0
    for t in range(known, values.shape[0]):
        if t - begin + 1 < size:
            continue
        window = values[t - size + 1 : t + 1]
        drawn = window[sample(seed, t - begin + 1, size - newest, newest)]
        if ks_distance(drawn, window[size - newest :]) >= least:
            fired += 1
            begin = t + 1
    return fired


@cache
def least_distance(alpha: float, size: int) -> float:
    """The smallest distance of two samples of `size` whose exact p-value is at most alpha.

    P(D >= k / n) = 2 Σ_j (-1)^(j-1) C(2n, n - jk) / C(2n, n), the reflection principle (Gnedenko
    and Korolyuk 1951), which is what scipy computes for samples of equal size without ties.
    """
    whole_paths = math.comb(2 * size, size)
    for k in range(1, size + 1):
        paths = sum(
            (-1) ** (j - 1) * math.comb(2 * size, size - j * k) for j in range(1, size // k + 1)
        )
        if k / size > LEAST_DISTANCE and 2 * paths / whole_paths <= alpha:
            return k / size - 1e-12
    return math.inf
