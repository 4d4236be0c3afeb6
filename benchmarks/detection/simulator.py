"""Simulated production: rate streams with season, memory, heavy tails and a common cause.

Hourly successes among rows. The log odds of a stream are a level, two harmonics of the day, a
weekend, and an AR(1) of sd .06 whose shocks it shares in part with all others; row counts are
Poisson and follow the day. A change multiplies the odds of the first streams. Everything is drawn
from one seed, so the same run can be followed with and without a change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.stats import chi2

from detectors.evidence.bank import Bank, prime, start_bank
from detectors.records import (
    DAY_US,
    HOUR_US,
    Budget,
    FloatArray,
    IntArray,
    Stream,
    StreamSpec,
    Tier,
)

FOLLOWED_HOURS = 17 * 24
CHANGE_AT = 48
CHANGED = 5
NOISE_SD = 0.06
SEASON_SD = 0.15
BURN_IN = 2_000
START_US = 20_773 * DAY_US


@dataclass(frozen=True, slots=True)
class World:
    """One kind of deployment. `tails` are degrees of freedom of the shocks, inf for Gaussian."""

    phi: float = 0.6
    streams: int = 50
    reference_days: int = 28
    rows: int = 1000
    noise_sd: float = NOISE_SD
    season_sd: float = SEASON_SD
    common: float = 0.5
    tails: float = 5.0

    @property
    def cut(self) -> int:
        """Ticks of the reference."""
        return self.reference_days * 24


@dataclass(frozen=True, slots=True)
class Counts:
    """Successes (T, K) among rows (T,) of hourly ticks."""

    successes: IntArray
    rows: IntArray


@dataclass(frozen=True, slots=True)
class Run:
    """A drawn history: log odds (T, K), rows (T,), and the seed of the draws to come."""

    world: World
    logit: FloatArray
    rows: IntArray
    seed: tuple[int, ...]

    def counts(self, odds_ratio: float = 1.0, before: tuple[float, int] = (1.0, 0)) -> Counts:
        """Successes of the whole history; the reference is the same for every odds ratio.

        `before`: another odds ratio that comes first, and for how many hours.
        """
        logit = self.logit.copy()
        changed = min(CHANGED, self.world.streams)
        at, (smaller, hours) = self.world.cut + CHANGE_AT, before
        logit[at : at + hours, :changed] += math.log(smaller)
        logit[at + hours :, :changed] += math.log(odds_ratio)
        rng = np.random.default_rng([*self.seed, 7])
        rate = 1 / (1 + np.exp(-logit))
        return Counts(rng.binomial(self.rows[:, None], rate), self.rows)


def draw(
    world: World,
    seed: tuple[int, ...],
    followed_hours: int = FOLLOWED_HOURS,
    *,
    season_seed: tuple[int, ...] | None = None,
) -> Run:
    """A reference of `world` and the hours that follow it, without any change.

    Domains drawn with one `season_seed` share their seasons, stream by stream.
    """
    rng = np.random.default_rng(seed)
    of_season = rng if season_seed is None else np.random.default_rng(season_seed)
    hours, streams = world.cut + followed_hours, world.streams
    clock = np.arange(hours)
    angle = 2 * np.pi * (clock % 24) / 24
    daily = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)], axis=1)
    weekend = (clock // 24 % 7 >= 5).astype(np.float64)
    season = daily @ of_season.normal(0, world.season_sd, (4, streams))
    season += np.outer(weekend, of_season.normal(0, world.season_sd, streams))
    shocks = math.sqrt(1 - world.common) * _shocks(rng, world, (BURN_IN + hours, streams))
    shocks += math.sqrt(world.common) * _shocks(rng, world, (BURN_IN + hours, 1))
    gain, decay = [math.sqrt(1 - world.phi**2)], [1.0, -world.phi]
    noise = lfilter(gain, decay, shocks, axis=0)[BURN_IN:]
    logit = rng.uniform(-3.5, -0.5, streams) + season + noise * world.noise_sd
    usual = world.rows * (1 + 0.7 * np.cos(2 * np.pi * (clock % 24 - 15) / 24)) + 5
    return Run(world, logit, rng.poisson(usual), seed)


def statistics(counts: Counts, cut: int) -> tuple[FloatArray, FloatArray]:
    """Log odds with half a count added, their variance at the hourly rates of the reference."""
    n = counts.rows[:, None].astype(np.float64)
    y = np.log((counts.successes + 0.5) / (n - counts.successes + 0.5))
    hour = np.arange(len(n)) % 24
    rate = np.empty_like(y)
    for each in range(24):
        at = hour == each
        past = at & (np.arange(len(n)) < cut)
        rate[at] = (counts.successes[past].sum(axis=0) + 0.5) / (n[past].sum() + 1.0)
    return y, 1 / (np.maximum(n, 1.0) * rate * (1 - rate))


def starts(ticks: int) -> IntArray:
    """Hourly instants in us, a Friday midnight first."""
    return START_US + np.arange(ticks, dtype=np.int64) * HOUR_US


def specs(count: int, delta_min: float = 0.0) -> list[StreamSpec]:
    """Page streams that share the whole weight equally."""
    return [
        StreamSpec(Stream("score", "share", Tier.PAGE, slice=f"s={k}"), 1 / count, delta_min)
        for k in range(count)
    ]


def primed(run: Run, delta_min: float = 0.0) -> Bank:
    """A bank of one page / 30 d that has read the reference of `run`."""
    cut = run.world.cut
    y, v = statistics(run.counts(), cut)
    bank = start_bank(specs(run.world.streams, delta_min), tick_us=HOUR_US, budget=Budget())
    return prime(bank, starts(cut), y[:cut], v[:cut])


@dataclass(frozen=True, slots=True)
class Rate:
    """Pages a period over runs: mean, standard error, one-sided upper 95 % limit."""

    mean: float
    error: float
    upper: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.error:.2f} (≤ {self.upper:.2f})"


def rate_of(counts: FloatArray, periods: float) -> Rate:
    """Events (runs,) in `periods` each. The limit is the larger of two.

    Mean + 1.645 standard errors sees pages that come in swarms; the Poisson limit of the total
    sees that none is not never.
    """
    counts = np.asarray(counts, np.float64)
    runs = len(counts)
    mean = float(counts.mean() / periods)
    error = float(counts.std(ddof=1) / math.sqrt(runs) / periods) if runs > 1 else math.nan
    poisson = float(chi2.ppf(0.95, 2 * (counts.sum() + 1)) / 2 / (runs * periods))
    return Rate(mean, error, max(poisson, mean + 1.645 * error) if runs > 1 else poisson)


def mean_error(values: FloatArray) -> tuple[float, float]:
    """Mean of what is not NaN, and its standard error."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(values.mean()), float(error)


def _shocks(rng: np.random.Generator, world: World, shape: tuple[int, int]) -> FloatArray:
    """Shocks of variance 1."""
    if math.isinf(world.tails):
        return rng.normal(size=shape)
    return rng.standard_t(world.tails, shape) * math.sqrt((world.tails - 2) / world.tails)
