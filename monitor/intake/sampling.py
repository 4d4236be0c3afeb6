"""Which rows are kept: decided by the hash of the event id, so a row and its label agree.

A row is kept when its hash, read as a fraction of 2^64, lies below its threshold, which is
also its inclusion probability; 1 / threshold is stored with the row as its weight. The
threshold is the model's rate, raised for small slices so that each keeps about `floor_rows`
rows a tick. The raised thresholds of a tick are fixed from the counts of the tick before
(Horvitz and Thompson 1952 for the weights: they need the probability that was in force, not
one that looks at the row's own tick).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.records import (
    HOUR_US,
    BoolArray,
    Categories,
    FloatArray,
    IntArray,
    Window,
)
from monitor.ids import HashArray

Key = tuple[str, ...]
MAX_TRACKED_SLICES = 10_000
_TWO_64 = 2.0**64


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one model is sampled. `slices` are column tuples; every domain is a slice of its own.

    Raises ValueError unless 0 < rate <= 1 and floor_rows >= 0.
    """

    rate: float = 1.0
    floor_rows: int = 0
    tick_us: int = HOUR_US
    slices: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            msg = f"sampling rate {self.rate} must be above 0 and at most 1"
            raise ValueError(msg)
        if self.floor_rows < 0:
            msg = f"sampling floor {self.floor_rows} must not be below 0"
            raise ValueError(msg)

    @property
    def highest_threshold(self) -> float:
        """No row with a hash above this is ever kept, so neither is its label."""
        return 1.0 if self.floor_rows else self.rate


@dataclass(frozen=True, slots=True)
class SamplerState:
    """Counts of the tick being counted and the thresholds fixed from the one before it.

    A slice that is not in `thresholds` after the first tick had no rows: it keeps all.
    """

    tick: int | None = None
    counts: Mapping[Key, float] = field(default_factory=dict)
    thresholds: Mapping[Key, float] | None = None


def kept(hi: HashArray, threshold: FloatArray | float) -> BoolArray:
    """Which hashes fall below their threshold. A threshold of 1 keeps every row."""
    below: BoolArray = (hi.astype(np.float64) < np.asarray(threshold) * _TWO_64) | (
        np.asarray(threshold) >= 1.0
    )
    return below


def sample(
    window: Window, hi: HashArray, sampling: Sampling, state: SamplerState
) -> tuple[BoolArray, FloatArray | None, SamplerState]:
    """Which rows of a batch to keep, 1 / inclusion probability (n,), and the next state.

    Weights are None where nothing is sampled. `window` needs `ts_us` when there are floors.
    """
    if sampling.rate >= 1:
        return np.ones(window.rows, np.bool_), None, state
    if not sampling.floor_rows:
        return kept(hi, sampling.rate), np.full(window.rows, 1 / sampling.rate), state
    assert window.ts_us is not None
    ticks = window.ts_us // sampling.tick_us
    state = _roll(state, ticks, sampling)
    threshold = np.full(window.rows, sampling.rate)
    counts = dict(state.counts)
    fresh = ticks >= (state.tick or 0)
    spread = max(1, len(np.unique(ticks[fresh])))
    for names in [(), *sampling.slices]:
        keys, inverse = _slice_keys(window, names)
        if state.thresholds is not None:
            floors = np.array([_floor(key, state.thresholds, sampling) for key in keys])
            threshold = np.maximum(threshold, floors[inverse])
        for key, rows in zip(
            keys, np.bincount(inverse[fresh], minlength=len(keys)).tolist(), strict=True
        ):
            if rows and (key in counts or len(counts) < MAX_TRACKED_SLICES):
                counts[key] = counts.get(key, 0.0) + rows / spread
    return kept(hi, threshold), 1 / threshold, replace(state, counts=counts)


def _floor(key: Key, thresholds: Mapping[Key, float], sampling: Sampling) -> float:
    if key in thresholds:
        return thresholds[key]
    return 1.0 if len(thresholds) < MAX_TRACKED_SLICES else sampling.rate


def _roll(state: SamplerState, ticks: IntArray, sampling: Sampling) -> SamplerState:
    """Close the counted tick when a later one begins, and fix the thresholds from it."""
    newest = int(ticks.max(initial=-1))
    if state.tick is None:
        return replace(state, tick=newest)
    if newest <= state.tick:
        return state
    thresholds = {
        key: max(sampling.rate, min(1.0, sampling.floor_rows / rows))
        for key, rows in state.counts.items()
    }
    return SamplerState(tick=newest, counts={}, thresholds=thresholds)


def _slice_keys(window: Window, names: Sequence[str]) -> tuple[list[Key], IntArray]:
    """The distinct (domain, value, …) keys of a batch, and the key number of every row."""
    columns = [("domain", window.domain), *((name, window.categorical.get(name)) for name in names)]
    inverse = np.zeros(window.rows, np.int64)
    keys: list[Key] = [tuple(names)]
    for _, column in columns:
        codes = column if column is not None else Categories(np.full(window.rows, -1, np.int32), ())
        width = len(codes.values) + 1
        combined = inverse * width + (codes.codes + 1)
        distinct, inverse = np.unique(combined, return_inverse=True)
        words = ("", *codes.values)
        keys = [(*keys[code // width], words[code % width]) for code in distinct.tolist()]
    return keys, inverse
