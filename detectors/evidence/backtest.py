"""Which tick length keeps its budget on the reference itself.

The first two thirds are fitted, the last third is followed as if live. A length passes if each
tier's alarms stay within the 95 % Poisson limit of its budget and innovations are not
correlated; the shortest that passes is taken. A season longer than the reference goes unseen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.evidence.bank import checked_ticks, start_bank
from detectors.evidence.budget import OTHER_ROW, PAGE_ROW, pace_of
from detectors.evidence.reference import LEVEL_WALK, learn_reference, ticks_from
from detectors.records import (
    DAY_US,
    HOUR_US,
    Budget,
    FloatArray,
    IntArray,
    StreamSpec,
    Tier,
)

POISSON_LEVEL = 0.95
MOST_CORRELATION = 0.15
WALKS = (0.05, 0.1, 0.2)
"""How fast the level of a difference may move, in daily sd of the stream itself."""
FEWEST_FITTED = 12
FEWEST_FOLLOWED = 6


@dataclass(frozen=True, slots=True)
class Trial:
    """One tick length on trial. Alarms and their limit are by tier, pages first."""

    tick_us: int
    passed: bool
    alarms: tuple[int, int]
    limit: tuple[int, int]
    correlation: float
    hours: float
    why_not: str


@dataclass(frozen=True, slots=True)
class TickChoice:
    """The tick length to use, and whether its budget can be promised."""

    tick_us: int
    guaranteed: bool
    why_not: str
    tried: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class WalkChoice:
    """The walk of a level to use; None where none keeps the budget, and why."""

    level_walk: float | None
    why_not: str = ""


def choose_walk(
    starts_us: IntArray,
    y: FloatArray,
    v: FloatArray,
    specs: Sequence[StreamSpec],
    budget: Budget,
    *,
    tick_us: int,
    walk_sd: FloatArray,
    holidays: str | None = None,
) -> WalkChoice:
    """Try walks from slow to fast on reference ticks (T,), (T, K); take the first that passes."""
    for walk in WALKS:
        trial = try_tick(
            tick_us,
            starts_us,
            y,
            v,
            specs,
            budget,
            holidays=holidays,
            level_walk=walk,
            walk_sd=walk_sd,
        )
        if trial.passed:
            return WalkChoice(walk)
    return WalkChoice(None, trial.why_not)


def choose_tick(
    candidates: Mapping[int, tuple[IntArray, FloatArray, FloatArray]],
    specs: Sequence[StreamSpec],
    budget: Budget,
    *,
    holidays: str | None = None,
    scale_floor: float = 0.9,
) -> TickChoice:
    """Try tick lengths from short to long; take the first that passes, else the longest.

    candidates maps a length in us to its reference ticks: starts (T,), y and v (T, K). With a
    single candidate this is the warning that a tick set by hand deserves.
    Raises ValueError if there is no candidate.
    """
    if not candidates:
        msg = "no tick length to choose from; give at least one, such as 3600000000 (1 h)"
        raise ValueError(msg)
    tried = []
    for tick_us in sorted(candidates):
        trial = try_tick(
            tick_us,
            *candidates[tick_us],
            specs,
            budget,
            holidays=holidays,
            scale_floor=scale_floor,
        )
        tried.append(trial)
        if trial.passed:
            return TickChoice(tick_us, guaranteed=True, why_not="", tried=tuple(tried))
    reasons = ", ".join(f"{_words(trial.tick_us)}: {trial.why_not}" for trial in tried)
    return TickChoice(
        tick_us=max(candidates),
        guaranteed=False,
        why_not=f"no tick length kept its budget on the reference ({reasons})",
        tried=tuple(tried),
    )


def try_tick(
    tick_us: int,
    starts_us: IntArray,
    y: FloatArray,
    v: FloatArray,
    specs: Sequence[StreamSpec],
    budget: Budget,
    *,
    holidays: str | None = None,
    scale_floor: float = 0.9,
    level_walk: float = LEVEL_WALK,
    walk_sd: FloatArray | None = None,
) -> Trial:
    """Fit on the first two thirds of the ticks and follow the last with full weights."""
    from detectors.evidence.filter import follow

    bank = start_bank(
        specs, tick_us=tick_us, budget=budget, holidays=holidays, scale_floor=scale_floor
    )
    starts_us, y, v = checked_ticks(bank, starts_us, y, v)
    cut = 2 * len(starts_us) // 3
    if cut < FEWEST_FITTED or len(starts_us) - cut < FEWEST_FOLLOWED:
        why = f"only {len(starts_us)} ticks, too few to tell"
        return Trial(tick_us, False, (0, 0), (0, 0), 0.0, 0.0, why)
    design, pace = bank.design, pace_of(bank.design)
    learnt = learn_reference(
        design,
        ticks_from(design, starts_us[:cut], y[:cut], v[:cut]),
        pace=pace,
        delta_min=bank.plan.delta_min,
        scale_floor=scale_floor,
        level_walk=level_walk,
        walk_sd=walk_sd,
    )
    last = ticks_from(
        design,
        starts_us[cut:],
        y[cut:],
        v[cut:],
        before_us=int(starts_us[cut - 1]),
        count_before=cut,
    )
    z = np.full(last.y.shape, np.nan)
    betting = bank.plan.betting(np.ones((len(last.start_us), 2)))
    found = follow(learnt.state, last, betting, pace, z=z)
    hours = float(starts_us[-1] - starts_us[cut] + tick_us) / HOUR_US
    if not design.timed:
        hours = float(len(last.start_us))
    rows = [int(bank.plan.tier[stream]) for _, stream, *_ in found]
    alarms = (rows.count(PAGE_ROW), rows.count(OTHER_ROW))
    limit = (_limit(hours, budget, Tier.PAGE), _limit(hours, budget, Tier.TICKET))
    correlation = lag_one(z)
    reasons = []
    for count, most, what in zip(alarms, limit, ("pages", "tickets"), strict=True):
        if count > most:
            reasons.append(f"{count} {what} in {hours / 24:.0f} days where {most} may be chance")
    if correlation > MOST_CORRELATION:
        reasons.append(f"innovations correlate by {correlation:.2f} from tick to tick")
    return Trial(tick_us, not reasons, alarms, limit, correlation, hours, " and ".join(reasons))


def lag_one(z: FloatArray) -> float:
    """Mean over streams of the lag-1 autocorrelation of z (T, K); pairs need data at both ticks.

    0 where no stream has data.
    """
    centred = z - _column_means(z)
    pairs = centred[1:] * centred[:-1]
    squares = _column_means(centred**2)
    usable = np.isfinite(pairs).any(axis=0) & (squares > 0)
    if not usable.any():
        return 0.0
    return float(np.mean(_column_means(pairs[:, usable]) / squares[usable]))


def _column_means(x: FloatArray) -> FloatArray:
    """Mean (K,) of what is finite, 0 where nothing is."""
    some = np.isfinite(x)
    total = np.where(some, x, 0.0).sum(axis=0)
    mean: FloatArray = total / np.maximum(some.sum(axis=0), 1)
    return mean


def _limit(hours: float, budget: Budget, tier: Tier) -> int:
    """Most alarms that a tier spending its budget exactly shows in 95 of 100 such spans."""
    from scipy.stats import poisson

    return int(poisson.ppf(POISSON_LEVEL, hours / budget.threshold_hours(tier)))


def _words(tick_us: int) -> str:
    if tick_us % DAY_US == 0 and tick_us:
        return f"{tick_us // DAY_US} d"
    return f"{tick_us / HOUR_US:g} h" if tick_us else "rows"
