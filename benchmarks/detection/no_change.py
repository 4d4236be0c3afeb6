"""How often Kedge pages when nothing changed, and how soon when something did.

    python -m benchmarks.detection.no_change [--runs 24] [--only "phi;φ = .6, K = 10"] [--small]

Every row is a world of `simulator.py`. A reference is fitted, 27 days are followed under a budget
of 1 page / 30 days. Then the first 17 of them are followed with the odds of five streams
multiplied on the third day. Where the reference is younger than 14 days the bank waits, as the
daemon does; its pages are counted over the days on which it may page.

Columns: runs; pages per 30 days ± standard error (upper 95 % limit, in pages); share of runs in
which the budget was promised when the reference ended (never before 14 days); for each odds ratio
the median and the mean delay in hours over the changed streams, a miss counted as the 360 hours
that were left, and the share missed. A stream that paged before its change counts as neither.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.detection.simulator import (
    CHANGE_AT,
    CHANGED,
    FOLLOWED_HOURS,
    Run,
    World,
    draw,
    mean_error,
    primed,
    rate_of,
    specs,
    starts,
    statistics,
)
from detectors.evidence.bank import Bank, advance, advance_block, prime, start_bank
from detectors.records import HOUR_US, Budget, FloatArray

PERIOD_HOURS = 720.0
PROMISED_HOURS = 14 * 24
QUIET_HOURS = 27 * 24
LEFT_HOURS = float(FOLLOWED_HOURS - CHANGE_AT)
BASE = World()


@dataclass(frozen=True, slots=True)
class Row:
    """A world, how many of the asked runs it gets, and which changes are followed."""

    group: str
    name: str
    world: World
    share: float = 1.0
    odds: tuple[float, ...] = ()


ROWS = (
    Row("phi", "iid, no noise beyond sampling", replace(BASE, phi=0.0, noise_sd=0.0)),
    *(
        Row("phi", f"φ = {phi:g}", replace(BASE, phi=phi), odds=(1.11, 1.22, 1.65))
        for phi in (0.3, 0.6, 0.9, 0.95, 0.97)
    ),
    *(
        Row("days", f"φ = {phi:g}, reference {days} d", replace(BASE, phi=phi, reference_days=days))
        for days in (7, 14, 56)
        for phi in (0.6, 0.9, 0.95)
    ),
    Row("kind", "φ = .6, Gaussian shocks", replace(BASE, tails=math.inf)),
    Row("kind", "φ = .6, t3 shocks", replace(BASE, tails=3.0)),
    Row("kind", "φ = .6, no season", replace(BASE, season_sd=0.0)),
    Row("kind", "φ = .6, season twice as large", replace(BASE, season_sd=0.3)),
    Row("kind", "φ = .6, independent streams", replace(BASE, common=0.0)),
    Row("kind", "φ = .6, 90 % common cause", replace(BASE, common=0.9)),
    Row("kind", "φ = .6, 50,000 rows a tick", replace(BASE, rows=50_000), odds=(1.22,)),
    Row("width", "φ = .6, K = 10", replace(BASE, streams=10), odds=(1.22,)),
    Row("width", "φ = .6, K = 500", replace(BASE, streams=500), 0.15, odds=(1.22,)),
    Row("width", "φ = .6, K = 5,000", replace(BASE, streams=5000), 0.05, odds=(1.22,)),
)


def follow(
    bank: Bank,
    run: Run,
    odds_ratio: float = 1.0,
    hours: int = FOLLOWED_HOURS,
    before: tuple[float, int] = (1.0, 0),
) -> list[tuple[int, int]]:
    """Pages in the first `hours` after the reference, as (hour, stream)."""
    cut = run.world.cut
    counts = run.counts(odds_ratio, before)
    y, v = statistics(counts, cut)
    span = slice(cut, cut + hours)
    _, found = advance_block(bank, starts(len(y))[span], y[span], v[span])
    return [(tick, alarm.stream) for tick, alarm in found]


def delays(pages: list[tuple[int, int]], changed: int, missed: float = LEFT_HOURS) -> list[float]:
    """Hours to the first page of each changed stream, `missed` without one.

    NaN for one that paged before it changed.
    """
    result = []
    for stream in range(changed):
        own = [tick for tick, paged in pages if paged == stream]
        if own and own[0] < CHANGE_AT:
            result.append(math.nan)
        else:
            result.append(float(own[0] - CHANGE_AT + 1) if own else missed)
    return result


def line(row: Row, runs: int, seed: int) -> str:
    """One row of the table."""
    pages, promised = [], 0
    waited: dict[float, list[FloatArray]] = {ratio: [] for ratio in row.odds}
    changed = min(CHANGED, row.world.streams)
    key = int(row.world.phi * 1000), row.world.streams, row.world.reference_days
    for number in range(runs):
        run = draw(row.world, (seed, *key, number), QUIET_HOURS)
        bank = primed(run)
        promised += bank.guaranteed
        pages.append(len(follow(bank, run, hours=QUIET_HOURS)))
        for ratio, seen in waited.items():
            seen.append(np.array(delays(follow(bank, run, ratio), changed)))
    silent = max(0, PROMISED_HOURS - row.world.cut)
    rate = rate_of(np.array(pages), (QUIET_HOURS - silent) / PERIOD_HOURS)
    text = f"{row.name:34}{runs:>5}{rate!s:>24}{promised / runs:>7.0%}"
    for ratio, seen in waited.items():
        together = np.concatenate(seen)
        together = together[np.isfinite(together)]
        mean, error = mean_error(np.array([np.nanmean(w) for w in seen if np.isfinite(w).any()]))
        missed = float((together >= LEFT_HOURS).mean())
        text += f"  ×{ratio:g}: {np.median(together):.0f} h, {mean:.1f} ± {error:.1f}, {missed:.0%}"
    return text


def speed(streams: int) -> None:
    """One hourly tick of many streams, the fit of one, and what a stream weighs."""
    rng = np.random.default_rng(0)
    fitted, cut = 20, BASE.cut
    y = rng.normal(0, 0.1, (cut + 1, fitted))
    v = np.full_like(y, 0.01)
    instants = starts(cut + 1)

    def read(columns: FloatArray) -> tuple[Bank, float]:
        bank = start_bank(specs(columns.shape[1]), tick_us=HOUR_US, budget=Budget())
        began = time.perf_counter()
        bank = prime(bank, instants[:cut], columns[:cut], v[:cut, : columns.shape[1]])
        return bank, time.perf_counter() - began

    advance(read(y[:, :1])[0], int(instants[cut]), y[cut, :1], v[cut, :1])  # compile
    bank, fit_s = read(y)
    assert bank.state is not None
    fold = -(-streams // fitted)
    width = fold * fitted
    arrays = {name: np.concatenate([a] * fold) for name, a in bank.state.arrays().items()}
    wide = replace(
        bank,
        specs=tuple(specs(width)),
        plan=start_bank(specs(width), tick_us=HOUR_US, budget=Budget()).plan,
        state=type(bank.state)(**arrays),
        alarmed=np.zeros(width, np.bool_),
        history=(),
    )
    took = []
    for _ in range(5):
        began = time.perf_counter()
        advance(wide, int(instants[cut]), np.tile(y[cut], fold), np.tile(v[cut], fold))
        took.append(time.perf_counter() - began)
    sys.stdout.write(
        f"\n{width:,} streams: {1e3 * min(took):.1f} ms a tick, fit {1e3 * fit_s / fitted:.1f} ms "
        f"a stream, {bank.state.bytes_per_stream:,.0f} bytes a stream\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="phi, days, kind, width, or names of rows; by ;")
    parser.add_argument("--small", action="store_true", help="two runs of one world")
    parser.add_argument("--streams", type=int, default=10_000, help="of the speed row")
    given = parser.parse_args()
    wanted = set(filter(None, given.only.split(";")))
    rows = [row for row in ROWS if not wanted or row.group in wanted or row.name in wanted]
    if given.small:
        rows = [row for row in rows if row.name == "φ = .6, K = 10"]
    for row in rows:
        runs = 2 if given.small else max(1, round(given.runs * row.share))
        sys.stdout.write(line(row, runs, given.seed) + "\n")
        sys.stdout.flush()
    if not given.small or given.streams != 10_000:
        speed(given.streams)


if __name__ == "__main__":
    main()
