"""Streams and vectors that several tests share."""

from __future__ import annotations

import numpy as np

from detectors.evidence.filter import follow, learn
from detectors.evidence.grids import LASTING, Bets, both_ways
from detectors.evidence.state import (
    ACTIVE,
    NOISE,
    PHI,
    SCALE2,
    WALK,
    Betting,
    FilterState,
    Pace,
    Ticks,
    pace,
    start_state,
)
from detectors.records import HOUR_US, FloatArray

# The alternatives and the gate under which the vectors were published.
PUBLISHED = Bets(*both_ways((0.35, 0.6, 1.0, 1.7, 3.0, 5.0, 8.0), [1.0] * 7), 0.02, 0.0)
VECTOR_Y = [0.1, -0.05, 0.2, 0.05, -0.1, 0.15, 0, -0.2, 0.1, 0.05, 0.3, 0.45, 0.5, 0.4, 0.6]
VECTOR_V = [
    0.01,
    0.02,
    0.01,
    0.01,
    0.02,
    0.01,
    0.01,
    0.02,
    0.01,
    0.01,
    0.01,
    0.02,
    0.01,
    0.01,
    0.02,
]


def level_ticks(y: FloatArray, v: FloatArray, *, first: int = 0) -> Ticks:
    """Hourly ticks of K streams (T, K) with a level and no season."""
    hours = (first + np.arange(len(y))) * HOUR_US
    return Ticks(hours, hours, np.zeros(len(y), np.int64), np.ones((len(y), 1)), y, v)


def level_state(
    streams: int, *, phi: float, q: float, walk: float = 0.0, bets: Bets = LASTING
) -> FilterState:
    """Level prior N(0, 1), scale 1, no practical effect."""
    model = np.zeros((streams, 8))
    model[:, PHI], model[:, NOISE], model[:, SCALE2] = phi, q, 1.0
    model[:, WALK], model[:, ACTIVE] = walk, 1.0
    return start_state(np.zeros((streams, 1)), np.ones((streams, 1)), model, bets=bets)


def short_pace(*, mute_us: int = 3 * HOUR_US) -> Pace:
    return pace(
        scale_half_life=10.0,
        correlation_half_life=20.0,
        window=8.0,
        tick_hours=1.0,
        longest_hours=24.0,
        mute_us=mute_us,
    )


def whole_bet(streams: int, ticks: int, *, threshold: float = 1e9) -> Betting:
    """Each stream injects 1 an hour."""
    return Betting(
        np.ones(streams),
        np.full(streams, threshold),
        np.zeros(streams, np.int64),
        np.ones((ticks, 2)),
    )


def run_vector() -> tuple[FilterState, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Eight reference and seven live ticks; returns state, raw z, widening, wealth and levels."""
    y = np.array(VECTOR_Y)[:, None]
    v = np.array(VECTOR_V)[:, None]
    state = level_state(1, phi=0.8, q=0.005, walk=0.0004, bets=PUBLISHED)
    learn(state, level_ticks(y[:8], v[:8]), short_pace())
    z, wide, wealth = (np.full((7, 1), np.nan) for _ in range(3))
    levels = np.empty(7)
    for t in range(7):
        at = slice(8 + t, 9 + t)
        follow(
            state,
            level_ticks(y[at], v[at], first=8 + t),
            whole_bet(1, 1),
            short_pace(),
            bets=PUBLISHED,
            z=z[t : t + 1],
            widening=wide[t : t + 1],
            wealth=wealth[t : t + 1],
        )
        levels[t] = state.mean[0, 1]
    return state, z[:, 0], wide[:, 0], wealth[:, 0], levels
