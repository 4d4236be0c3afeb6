"""What newcomers say: how often of nothing, and how soon of a change.

    python -m benchmarks.detection.births [--runs 24] [--rows 1000]

A domain with a reference of 30 days gets three newcomers on the fourth day: a number, a column of
two words, and a third value of a known column. All have a daily rhythm, and a level that wanders
from hour to hour with memory φ. For 40 days after their birth nothing changes, or each is
moved so many days after it joined: the number by half or a whole standard deviation, the odds of
the words by a factor of e or e². Through the pipeline of the daemon, at ticks of 6 hours.

Columns: runs; tickets of newcomers per 30 days ± standard error with the upper 95 % limit, of a
budget of 1 (a tenth of ten tickets); days in which half of the moved newcomers had their ticket,
and the share that had none within 14 days. One that spoke before its change counts as neither.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from benchmarks.detection.simulator import rate_of
from detectors.records import (
    DAY_US,
    HOUR_US,
    Categories,
    ColumnSpec,
    Deployment,
    Finding,
    FloatArray,
    Kind,
    Schema,
    Settings,
    Task,
    Tier,
    Window,
)
from monitor.rows.held import FileRows
from monitor.watching.pipeline import evaluate, open_progress
from monitor.watching.watch import open_watch

START_US = 20_454 * DAY_US
COMES, JOINS, QUIET_DAYS, LEFT_DAYS = 3.5, 5, 40, 14
NEW = {"promo": "promo", "tier": "tier", "channel": "channel=chat"}
SCHEMA = Schema(
    task=Task.BINARY,
    columns=(ColumnSpec("age", Kind.NUMERIC), ColumnSpec("channel", Kind.CATEGORICAL)),
    has_label=False,
)


@dataclass(frozen=True, slots=True)
class World:
    """`moved` standard deviations (odds: twice as many in log) from a day after birth on."""

    rows_a_day: int
    phi: float
    moved: float = 0.0
    after_days: float = 1e9

    def rows(self, first_day: int, days: int, rng: np.random.Generator) -> Window:
        n = self.rows_a_day * days
        day = np.sort(first_day + days * rng.random(n))
        here, later = day >= COMES, day >= JOINS + self.after_days
        shift = self.moved * later
        promo = rng.normal(self._wander(rng, day, first_day, days) + shift, 1.0)
        gold = _chance(-0.5 + self._wander(rng, day, first_day, days) + 2.0 * shift)
        chat = _chance(-2.0 + self._wander(rng, day, first_day, days) + 2.0 * shift) * here
        channel = np.where(rng.random(n) < chat, 2, rng.integers(0, 2, n)).astype(np.int32)
        tier = np.where(here, rng.random(n) < gold, -1).astype(np.int32)
        named = ("phone", "web", "chat") if here.any() else ("phone", "web")
        return Window(
            rows=n,
            ts_us=START_US + (day * DAY_US).astype(np.int64),
            score=np.clip(rng.normal(0.4, 0.1, n), 0.0, 1.0),
            numeric={"age": rng.normal(40.0, 10.0, n), "promo": np.where(here, promo, np.nan)},
            categorical={
                "channel": Categories(channel, named),
                "tier": Categories(tier, ("basic", "gold")),
            },
        )

    def _wander(
        self, rng: np.random.Generator, day: FloatArray, first_day: int, days: int
    ) -> FloatArray:
        """A daily rhythm and an AR(1) by the hour, of .3 and .1 standard deviations."""
        steps = rng.normal(0.0, 0.1 * np.sqrt(1.0 - self.phi**2), 24 * days)
        level = np.zeros(24 * days)
        for hour in range(1, 24 * days):
            level[hour] = self.phi * level[hour - 1] + steps[hour]
        wandered: FloatArray = level[((day - first_day) * 24).astype(np.int64)]
        return wandered + 0.3 * np.sin(2.0 * np.pi * day)


def _chance(logit: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def tickets(world: World, days: int, seed: int) -> list[tuple[str, float]]:
    """What newcomers say, as (newcomer, day since it joined)."""
    rng = np.random.default_rng(seed)
    reference = world.rows(-30, 30, rng)
    watch = open_watch(
        Deployment("m", "d"),
        SCHEMA,
        Settings(tick_us=6 * HOUR_US),
        reference=reference,
        own_reference=True,
    )
    progress, rows = open_progress(watch, reference), FileRows(world.rows(0, JOINS + days, rng))
    until_us = START_US + (JOINS + days) * DAY_US
    found: list[Finding] = []
    for seen in evaluate(watch, progress, rows, watermark_us=until_us):
        found += seen.findings
    return [
        (one.column, (one.ts.timestamp() * 1e6 - START_US) / DAY_US - JOINS)
        for one in found
        if one.tier is Tier.TICKET and "(a new " in one.detail and one.column in NEW
    ]


def quiet_line(world: World, runs: int) -> str:
    """Tickets of what has not changed."""
    counts = np.array([float(len(tickets(world, QUIET_DAYS, seed))) for seed in range(runs)])
    rate = rate_of(counts, QUIET_DAYS / 30.0)
    return f"φ = {world.phi:g}, nothing moved | {runs} | {rate} | |"


def moved_line(world: World, runs: int) -> str:
    """How soon what has moved is told."""
    delays: list[float] = []
    for seed in range(runs):
        said = tickets(world, int(world.after_days) + LEFT_DAYS, 1_000 + seed)
        for column in NEW:
            mine = [day - world.after_days for name, day in said if name == column]
            if not mine or mine[0] >= 0.0:
                delays.append(mine[0] if mine else np.inf)
    missed = np.isinf(delays).mean()
    name = f"φ = {world.phi:g}, {world.moved:g} sd on day {world.after_days:g}"
    return f"{name} | {runs} | | {np.median(delays):.1f} | {missed:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--rows", type=int, default=1_000, help="a day")
    asked = parser.parse_args()
    for phi in (0.6, 0.9):
        print(quiet_line(World(asked.rows, phi), asked.runs), flush=True)
    for moved in (0.5, 1.0):
        for after_days in (5.0, 20.0):
            world = World(asked.rows, 0.6, moved, after_days)
            print(moved_line(world, asked.runs), flush=True)


if __name__ == "__main__":
    main()
