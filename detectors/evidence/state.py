"""What a filter remembers, as arrays over streams, and the laws it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.evidence.grids import LASTING, Bets
from detectors.records import FloatArray, IntArray

# columns of FilterState.model
PHI, NOISE, SCALE2, WALK, GATE, RESET, DELTA_MIN, ACTIVE = range(8)
# columns of FilterState.track
C, C_REF, LONG, SHORT, DECAYED, LATELY, SAMPLING = range(7)
# last axis of FilterState.runs
RUN, RESPONSE, MOVED, WEIGHED = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class FilterState:
    """What the filter remembers of K streams with p regressors and n = p + 1 states.

    mean (K, n) and cov (K, n(n+1)/2), lower triangle by rows, are predictions for the next tick.
    model (K, 8): φ, innovation variance of u, s², level variance a tick, gate (practical effect
    x steady response), level variance added by an alarm, practical effect, 1 if it may bet.
    track (K, 7): scale now and in the reference, long- and short-run variance, decayed sum of z,
    and over the same window how far y lay from its level and season, and its sampling variance.
    wealth (K, J) by alternative, onset (K, J) in us, runs (K, J, 4): CUSUM, response to a step
    since onset, and weighted sums that estimate the step. muted_until, seen_until (K,) are
    instants of the clock, -1 before the first.
    """

    mean: FloatArray
    cov: FloatArray
    model: FloatArray
    track: FloatArray
    wealth: FloatArray
    onset: IntArray
    runs: NDArray[np.float32]
    muted_until: IntArray
    seen_until: IntArray

    def copy(self) -> FilterState:
        return FilterState(**{name: array.copy() for name, array in self.arrays().items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array by name, for saving and for mixing streams of two states."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def bytes_per_stream(self) -> float:
        return sum(array.nbytes for array in self.arrays().values()) / max(len(self.mean), 1)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast memories fade, in ticks, and how time is counted, for one tick length."""

    scale_rate: float
    correlation_rate: float
    sum_decay: float
    correlation_slack: float
    tick_hours: float
    longest_hours: float
    mute_us: int


def pace(
    *,
    scale_half_life: float,
    correlation_half_life: float,
    window: float,
    tick_hours: float,
    longest_hours: float,
    mute_us: int,
    correlation_slack: float = 1.0,
) -> Pace:
    """Half-lives and window are in ticks with data.

    Long-run over short-run variance widens nothing up to `correlation_slack`.
    """
    return Pace(
        scale_rate=1.0 - 0.5 ** (1.0 / scale_half_life),
        correlation_rate=1.0 - 0.5 ** (1.0 / correlation_half_life),
        sum_decay=1.0 - 1.0 / window,
        correlation_slack=correlation_slack,
        tick_hours=tick_hours,
        longest_hours=longest_hours,
        mute_us=mute_us,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Ticks:
    """Consecutive ticks as the kernels read them.

    start_us (T,) event time; clock_us (T,) the clock that budget and muting follow (event time,
    or a count for row ticks); skipped (T,) ticks missing before each; columns (T, p); y, v (T, K),
    v infinite where there is no data.
    """

    start_us: IntArray
    clock_us: IntArray
    skipped: IntArray
    columns: FloatArray
    y: FloatArray
    v: FloatArray

    def part(self, tick: int) -> Ticks:
        """One tick alone."""
        only = slice(tick, tick + 1)
        return Ticks(**{name: getattr(self, name)[only] for name in self.__dataclass_fields__})


@dataclass(frozen=True, slots=True, eq=False)
class Betting:
    """What streams may spend: weight and threshold (hours) (K,), tier row (K,), share (T, 2)."""

    weight: FloatArray
    threshold: FloatArray
    tier: IntArray
    share: FloatArray


def start_state(
    mean: FloatArray, sd: FloatArray, model: FloatArray, *, bets: Bets = LASTING
) -> FilterState:
    """A state before any tick: prior mean and sd (K, p) of b, model (K, 8)."""
    streams, p = mean.shape
    n, count = p + 1, len(bets.shifts)
    cov = np.zeros((streams, n * (n + 1) // 2))
    cov[:, 0] = model[:, NOISE] / (1.0 - model[:, PHI] ** 2)
    for i in range(p):
        cov[:, (i + 1) * (i + 2) // 2 + i + 1] = sd[:, i] ** 2
    return FilterState(
        mean=np.concatenate([np.zeros((streams, 1)), mean], axis=1),
        cov=cov,
        model=model,
        track=np.zeros((streams, 7)),
        wealth=np.zeros((streams, count)),
        onset=np.zeros((streams, count), np.int64),
        runs=np.zeros((streams, count, 4), np.float32),
        muted_until=np.full(streams, -1, np.int64),
        seen_until=np.full(streams, -1, np.int64),
    )


def steady_response(phi: FloatArray, ratio: FloatArray) -> FloatArray:
    """Share g of a lasting unit step that innovations keep showing, for noise ratio R.

    g = (1-φ)/(1-φ+φK) with K the steady gain of an AR(1) of variance R seen through unit noise:
    the positive root of the scalar Riccati equation.
    """
    q = ratio * (1.0 - phi**2)
    half = 0.5 * (q - (1.0 - phi**2))
    p = half + np.sqrt(half**2 + q)
    gain = p / (p + 1.0)
    share: FloatArray = (1.0 - phi) / (1.0 - phi + phi * gain)
    return share
