"""How often Kedge pages when nothing changed, and how soon when something did.

    python benchmarks/detection/no_change.py --runs 20 --seed 0

Simulated production: rate streams with a daily and weekly season, autoregressive t5 noise that
shares a common factor, Poisson row counts that follow the day. A 28-day hourly reference is
fitted, 17 days are followed under a budget of 1 page / 30 days. First nothing changes; then, in
the same streams drawn anew, the odds of five of them are multiplied on the third day.

Columns: pages per 30 days ± standard error over runs; for each odds ratio the mean delay in
hours over the changed streams, a miss counted as the 408 hours followed, and the share missed.
A page of a changed stream before its change counts as neither.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from detectors.evidence.bank import Bank, advance, advance_block, prime, start_bank
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

STREAMS = 50
REFERENCE_HOURS = 28 * 24
FOLLOWED_HOURS = 17 * 24
CHANGE_AT = 48
CHANGED = 5
NOISE_SD = 0.06
SEASON_SD = 0.15
ROWS = 1000
COMMON = 0.5
BURN_IN = 500


@dataclass(frozen=True, slots=True)
class Counts:
    """Successes (T, K) among rows (T,) of hourly ticks."""

    successes: IntArray
    rows: IntArray


def simulate(
    rng: np.random.Generator, *, phi: float, rows: int = ROWS, odds_ratio: float = 1.0
) -> Counts:
    """Hourly counts of a reference and what follows; the first streams change, if any do."""
    hours = REFERENCE_HOURS + FOLLOWED_HOURS
    clock = np.arange(hours)
    angle = 2 * np.pi * (clock % 24) / 24
    daily = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)], axis=1)
    weekend = (clock // 24 % 7 >= 5).astype(np.float64)
    season = daily @ rng.normal(0, SEASON_SD, (4, STREAMS))
    season += np.outer(weekend, rng.normal(0, SEASON_SD, STREAMS))
    unit = math.sqrt(3 / 5)  # a t5 has variance 5/3
    own = rng.standard_t(5, (BURN_IN + hours, STREAMS)) * unit
    common = rng.standard_t(5, (BURN_IN + hours, 1)) * unit
    shocks = math.sqrt(1 - COMMON) * own + math.sqrt(COMMON) * common
    noise = lfilter([math.sqrt(1 - phi**2)], [1.0, -phi], shocks, axis=0)[BURN_IN:] * NOISE_SD
    logit = rng.uniform(-3.5, -0.5, STREAMS) + season + noise
    logit[REFERENCE_HOURS + CHANGE_AT :, :CHANGED] += math.log(odds_ratio)
    volume = rng.poisson(rows * (1 + 0.7 * np.cos(2 * np.pi * (clock % 24 - 15) / 24)) + 5)
    rate = 1 / (1 + np.exp(-logit))
    return Counts(rng.binomial(volume[:, None], rate), volume)


def statistics(counts: Counts) -> tuple[FloatArray, FloatArray]:
    """Logits with half a count added, and their variance at the hourly rate of the reference."""
    n = counts.rows[:, None].astype(np.float64)
    y = np.log((counts.successes + 0.5) / (n - counts.successes + 0.5))
    by_hour = np.arange(len(n)) % 24
    rate = np.empty_like(y)
    for hour in range(24):
        at = by_hour == hour
        past = at & (np.arange(len(n)) < REFERENCE_HOURS)
        rate[at] = (counts.successes[past].sum(axis=0) + 0.5) / (n[past].sum() + 1.0)
    return y, 1 / (np.maximum(n, 1.0) * rate * (1 - rate))


def specs(count: int, delta_min: float) -> list[StreamSpec]:
    return [
        StreamSpec(Stream("score", "share", Tier.PAGE, slice=f"s={k}"), 1 / count, delta_min)
        for k in range(count)
    ]


def follow(counts: Counts, delta_min: float) -> list[tuple[int, int]]:
    """Pages as (hour after the reference, stream). Maturity is full: 28 days are behind."""
    y, v = statistics(counts)
    starts = 20_773 * DAY_US + np.arange(len(y), dtype=np.int64) * HOUR_US
    bank = start_bank(specs(STREAMS, delta_min), tick_us=HOUR_US, budget=Budget())
    cut = REFERENCE_HOURS
    bank = prime(bank, starts[:cut], y[:cut], v[:cut])
    _, found = advance_block(bank, starts[cut:], y[cut:], v[cut:])
    return [(tick, alarm.stream) for tick, alarm in found]


def delays(pages: list[tuple[int, int]]) -> list[float]:
    """Hours to the first page of each changed stream; NaN for one that paged before it changed."""
    result = []
    for stream in range(CHANGED):
        own = [tick for tick, paged in pages if paged == stream]
        if own and own[0] < CHANGE_AT:
            result.append(math.nan)
        else:
            missed = float(FOLLOWED_HOURS)
            result.append(float(own[0] - CHANGE_AT + 1) if own else missed)
    return result


def table(runs: int, seed: int, phis: list[float], ratios: list[float], delta_min: float) -> None:
    header = "".join(f"{f'delay x{ratio:g} h':>20}{'missed':>9}" for ratio in ratios)
    print(f"{'phi':>6}{'pages / 30 d':>18}{header}")
    for phi in phis:
        counts = []
        for run in range(runs):
            rng = np.random.default_rng([seed, int(phi * 1000), run, 0])
            counts.append(len(follow(simulate(rng, phi=phi), delta_min)))
        per_month = np.array(counts) * 720.0 / FOLLOWED_HOURS
        error = per_month.std(ddof=1) / math.sqrt(runs) if runs > 1 else math.nan
        line = f"{phi:>6g}{f'{per_month.mean():.2f} ± {error:.2f}':>18}"
        for place, ratio in enumerate(ratios):
            waited: list[FloatArray] = []
            for run in range(runs):
                rng = np.random.default_rng([seed, int(phi * 1000), run, 1 + place])
                pages = follow(simulate(rng, phi=phi, odds_ratio=ratio), delta_min)
                waited.append(np.array(delays(pages)))
            each = np.array([np.nanmean(w) for w in waited if np.isfinite(w).any()])
            error = each.std(ddof=1) / math.sqrt(len(each)) if len(each) > 1 else math.nan
            together = np.concatenate(waited)
            missed = np.nanmean(together >= FOLLOWED_HOURS)
            line += f"{f'{each.mean():.1f} ± {error:.1f}':>20}{f'{missed:.0%}':>9}"
        print(line, flush=True)


def speed(streams: int) -> None:
    """One hourly tick of many streams, the fit of one, and what a stream weighs."""
    rng = np.random.default_rng(0)
    fitted = 20
    y = rng.normal(0, 0.1, (REFERENCE_HOURS + 1, fitted))
    v = np.full_like(y, 0.01)
    starts = 20_773 * DAY_US + np.arange(len(y), dtype=np.int64) * HOUR_US
    cut = REFERENCE_HOURS

    def primed(columns: FloatArray) -> tuple[Bank, float]:
        bank = start_bank(specs(columns.shape[1], 0.0), tick_us=HOUR_US, budget=Budget())
        began = time.perf_counter()
        bank = prime(bank, starts[:cut], columns[:cut], v[:cut, : columns.shape[1]])
        return bank, time.perf_counter() - began

    advance(primed(y[:, :1])[0], int(starts[cut]), y[cut, :1], v[cut, :1])  # compile
    bank, fit_s = primed(y)
    assert bank.state is not None
    fold = -(-streams // fitted)
    wide = Bank(
        **{
            **{name: getattr(bank, name) for name in Bank.__dataclass_fields__},
            "specs": tuple(specs(fold * fitted, 0.0)),
            "plan": start_bank(specs(fold * fitted, 0.0), tick_us=HOUR_US, budget=Budget()).plan,
            "state": type(bank.state)(
                **{
                    name: np.concatenate([array] * fold)
                    for name, array in bank.state.arrays().items()
                }
            ),
            "alarmed": np.zeros(fold * fitted, np.bool_),
            "history": (),
        }
    )
    wide_y, wide_v = np.tile(y[cut], fold), np.tile(v[cut], fold)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        advance(wide, int(starts[cut]), wide_y, wide_v)
        took.append(time.perf_counter() - began)
    print(
        f"{'streams':>10}{'tick ms':>10}{'µs/stream':>12}{'fit ms/stream':>16}{'bytes/stream':>15}"
    )
    tick_ms, width = 1e3 * min(took), fold * fitted
    print(
        f"{width:>15}{tick_ms:>15.1f}{1e3 * tick_ms / width:>15.2f}"
        f"{1e3 * fit_s / fitted:>15.1f}{bank.state.bytes_per_stream:>15.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phi", type=float, nargs="+", default=[0.3, 0.6, 0.9, 0.95])
    parser.add_argument("--odds", type=float, nargs="+", default=[1.22, 1.65])
    parser.add_argument("--delta-min", type=float, default=0.0, help="practical effect, log odds")
    parser.add_argument("--streams", type=int, default=10_000, help="of the speed row")
    given = parser.parse_args()
    table(given.runs, given.seed, given.phi, given.odds, given.delta_min)
    print()
    speed(given.streams)


if __name__ == "__main__":
    main()
