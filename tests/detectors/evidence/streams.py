"""Seeded streams and specs for tests of whole banks."""

from __future__ import annotations

import math

import numpy as np
from scipy.signal import lfilter

from detectors.records import DAY_US, FloatArray, IntArray, Stream, StreamSpec, Tier

# Midnight of a Monday, so that seasons start where they should.
MONDAY_US = 20_773 * DAY_US


def specs_of(
    count: int, tier: Tier = Tier.PAGE, *, delta_min: float = 0.0, weight: float | None = None
) -> list[StreamSpec]:
    share = 1.0 / count if weight is None and count else weight or 0.0
    return [
        StreamSpec(Stream("score", "share", tier, column=f"c{i}"), share, delta_min)
        for i in range(count)
    ]


def starts_of(count: int, tick_us: int, *, first_us: int = MONDAY_US) -> IntArray:
    return first_us + np.arange(count, dtype=np.int64) * tick_us


def wandering_streams(
    rng: np.random.Generator, ticks: int, streams: int, *, phi: float, sd: float = 0.1
) -> tuple[FloatArray, FloatArray]:
    """AR(1) of standard deviation sd seen through noise of variance .01: y, v (T, K)."""
    shocks = rng.normal(size=(ticks, streams)) * math.sqrt(1 - phi**2) * sd
    y = lfilter([1.0], [1.0, -phi], shocks, axis=0) + rng.normal(0, 0.1, (ticks, streams))
    return y, np.full((ticks, streams), 0.01)
