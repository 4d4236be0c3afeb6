"""From reference ticks to a filter that is ready to bet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.evidence.design import Design
from detectors.evidence.fleet import FleetPrior
from detectors.evidence.grids import PHI_GRID
from detectors.evidence.pooling import cautious_index, pool
from detectors.evidence.state import (
    ACTIVE,
    DELTA_MIN,
    GATE,
    NOISE,
    PHI,
    RESET,
    SCALE2,
    WALK,
    FilterState,
    Pace,
    Ticks,
    start_state,
    steady_response,
)
from detectors.records import DAY_US, FloatArray, IntArray

LEVEL_WALK = 0.05
FEWEST_DAYS = 4
FEWEST_TICKS = 12
MAD_TO_SD = 1.4826
SMALLEST_SEASON_SHARE = 0.05
# More gaps than these change nothing: u has decayed, and the level is open again.
MOST_SKIPPED = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """A filter after its reference, pooled φ weights (K, 14), and its innovations z (T, K)."""

    state: FilterState
    phi_weights: NDArray[np.float32]
    z: FloatArray


def ticks_from(
    design: Design,
    starts_us: IntArray,
    y: FloatArray,
    v: FloatArray,
    *,
    before_us: int | None = None,
    count_before: int = 0,
) -> Ticks:
    """Lay out ticks for the kernels. `before_us` is the start of the tick before the first.

    A tick that does not lie after the one before it follows it directly. Row ticks follow
    each other directly, and their clock is `count_before` and up, an hour each.
    """
    if design.timed:
        previous = starts_us[:1] - design.tick_us if before_us is None else [before_us]
        ahead = np.diff(starts_us, prepend=previous) // design.tick_us - 1
        clock = np.ascontiguousarray(starts_us, dtype=np.int64)
    else:
        ahead = np.zeros(len(starts_us), np.int64)
        clock = (count_before + np.arange(len(starts_us))) * (DAY_US // 24)
    return Ticks(
        start_us=np.ascontiguousarray(starts_us, dtype=np.int64),
        clock_us=clock,
        skipped=np.clip(ahead, 0, MOST_SKIPPED).astype(np.int64),
        columns=design.columns(starts_us),
        y=np.ascontiguousarray(y, dtype=np.float64),
        v=np.ascontiguousarray(v, dtype=np.float64),
    )


def learn_reference(
    design: Design,
    ticks: Ticks,
    *,
    pace: Pace,
    delta_min: FloatArray,
    scale_floor: float = 0.9,
    scale_ceiling: float = math.inf,
    names: Sequence[str] = (),
    prior: FleetPrior | None = None,
    level_walk: float = LEVEL_WALK,
    walk_sd: FloatArray | None = None,
    gate_share: float = 1.0,
) -> Learnt:
    """Fit K streams on T ticks, pool what they say of memory, and run the filter through them.

    A stream with fewer than max(12, p) ticks of data is filtered and never bets. Levels walk by
    `level_walk` daily sd a day: of the stream itself, or `walk_sd` (K,) where that is given. Of
    `delta_min` a `gate_share` is what the null may move.
    """
    from detectors.evidence.filter import learn
    from detectors.evidence.fit import fit_stream

    streams = ticks.y.shape[1]
    seen = np.isfinite(ticks.y) & np.isfinite(ticks.v)
    y = np.where(seen, ticks.y, np.nan)
    noise = _nanmedian(np.where(seen, ticks.v, np.nan), default=1.0)
    level = _nanmedian(y, default=0.0)
    spread = np.maximum(_mad_sd(y), np.sqrt(noise))
    sd = design.prior_sd(spread)
    mean = np.zeros((streams, design.width))
    mean[:, 0] = level
    if prior is not None:
        _lend(prior, names, mean, sd)
    gaps = np.cumsum(ticks.skipped + 1) - 1
    grid_columns, grid_y, grid_v = _with_gaps(ticks, gaps)
    fits = [
        fit_stream(
            grid_columns,
            grid_y[:, k],
            grid_v[:, k],
            mean[k],
            sd[k],
            scale_floor=scale_floor,
            scale_ceiling=scale_ceiling,
        )
        for k in range(streams)
    ]
    weights = np.empty((0, len(PHI_GRID)))
    model = np.zeros((streams, 8))
    if fits:
        weights = pool(
            np.stack([fit.weights for fit in fits]), None if prior is None else prior.phi_weights
        )
        index = cautious_index(weights)
        phi = PHI_GRID[index]
        ratio = np.array([fit.ratio[i] for fit, i in zip(fits, index, strict=True)])
        scale2 = np.array([fit.scale[i] for fit, i in zip(fits, index, strict=True)]) ** 2
        model[:, PHI] = phi
        model[:, NOISE] = ratio * noise * (1.0 - phi**2) * scale2
        model[:, SCALE2] = scale2
        daily = daily_spread(design, ticks.start_us, y) if walk_sd is None else walk_sd
        model[:, WALK] = (level_walk * daily) ** 2 / design.ticks_per_day
        model[:, GATE] = gate_share * delta_min * steady_response(phi, ratio)
        model[:, RESET] = 4.0 * np.maximum(ratio, 0.5) * noise * scale2
        model[:, DELTA_MIN] = delta_min
        model[:, ACTIVE] = seen.sum(axis=0) >= max(FEWEST_TICKS, design.width)
    state = start_state(mean, sd, model)
    z = learn(state, ticks, pace)
    return Learnt(state, weights.astype(np.float32), z)


def _lend(prior: FleetPrior, names: Sequence[str], mean: FloatArray, sd: FloatArray) -> None:
    """Write the fleet's season into prior mean and sd (K, p), the level left as it is."""
    for k, name in enumerate(names):
        if name in prior.season:
            centre, variance = prior.season[name]
            mean[k, 1:] = centre
            sd[k, 1:] = np.sqrt(np.maximum(variance, (SMALLEST_SEASON_SHARE * sd[k, 1:]) ** 2))


def _with_gaps(ticks: Ticks, place: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Columns, y and v with a row without data for every tick that was skipped."""
    total = int(place[-1]) + 1 if len(place) else 0
    if total == len(place):
        return ticks.columns, ticks.y, ticks.v
    columns = np.zeros((total, ticks.columns.shape[1]))
    y = np.full((total, ticks.y.shape[1]), np.nan)
    v = np.full(y.shape, np.inf)
    columns[place], y[place], v[place] = ticks.columns, ticks.y, ticks.v
    return columns, y, v


def daily_spread(design: Design, starts_us: IntArray, y: FloatArray) -> FloatArray:
    """Robust sd (K,) of daily means of y (T, K), NaN where there is no data.

    Of single ticks where fewer than four days have data.
    """
    by_tick = _mad_sd(y)
    if not design.timed or not len(y):
        return by_tick
    days, place = np.unique(starts_us // DAY_US, return_inverse=True)
    total = np.zeros((len(days), y.shape[1]))
    count = np.zeros_like(total)
    np.add.at(total, place, np.nan_to_num(y))
    np.add.at(count, place, np.isfinite(y))
    daily = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
    enough = np.isfinite(daily).sum(axis=0) >= FEWEST_DAYS
    return np.where(enough, _mad_sd(daily), by_tick)


def _mad_sd(y: FloatArray) -> FloatArray:
    """1.4826 x median absolute deviation down each column (K,); 0 where there is no data."""
    return MAD_TO_SD * _nanmedian(np.abs(y - _nanmedian(y, default=0.0)), default=0.0)


def _nanmedian(y: FloatArray, *, default: float) -> FloatArray:
    """Median (K,) of what is not NaN, `default` where nothing is."""
    out = np.full(y.shape[1], default)
    some = np.isfinite(y).any(axis=0)
    if some.any():
        out[some] = np.nanmedian(y[:, some], axis=0)
    return out
