"""Domains without a reference of their own: what they alarm while nothing changes, and how soon.

    python -m benchmarks.detection.young [--runs 12] [--delays 6] [--phi .3 .6 .9 .95]
        [--fleet none right ...] [--tick-hours 1 6] [--small]

24 rate streams of `simulator.py` begin with nothing: a bank waits 48 hours, is fitted at 2, 3, 7,
14, 28 and 56 days, files tickets with a ramp from 48 hours on and pages from day 14, with a fleet
from day 7. Half of the streams page, half file tickets, each half with the whole budget of its
tier: 1 page and 10 tickets / 30 d. Sampling variances are those of a training table: of each
stream's mean rate. All of it is `start_bank` and `advance_block` of the product.

Fleets are three references of 28 days: "none"; "right", whose memory and season are the domain's;
"seasons", each with a season of its own; ".3", of φ = .3 whatever the domain; and "half", whose
noise is half the domain's. For comparison: "loud", a right fleet of a domain of twice the noise,
and "noise", that domain without a fleet.

Columns: false pages, then false tickets, in the first 30 and the first 60 days, ± standard error
(upper 95 % limit); last, pages per 30 days on which pages may be made, to day 60. Then, where
--delays asks for it, median and mean hours to the first alarm of a changed stream, a miss counted
as the 240 that are followed, and the share missed; the odds change at hour 168 or on day 20, in
three page and two ticket streams.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.detection.simulator import (
    CHANGE_AT,
    CHANGED,
    NOISE_SD,
    Counts,
    Run,
    World,
    draw,
    mean_error,
    rate_of,
    starts,
)
from detectors.evidence.bank import Bank, advance_block, prime, start_bank
from detectors.evidence.fleet import FleetPrior, fleet_prior
from detectors.evidence.young import FIRST_LENT_PAGE_US, PROMISED_US
from detectors.records import DAY_US, HOUR_US, Budget, FloatArray, Stream, StreamSpec, Tier

PHIS = (0.3, 0.6, 0.9, 0.95)
ODDS = (1.22, 1.65, 2.7)
FOLLOWED_DAYS = 60
LOOKS = (30, FOLLOWED_DAYS)
TIERS = (Tier.PAGE, Tier.TICKET)
CHANGED_AT_HOUR = (168, 480)
AFTER_HOURS = 240
LENDERS = 3
LENDER_DAYS = 28
FLEETS = ("none", "right", "seasons", ".3", "half", "loud", "noise")
LOUD = ("half", "loud", "noise")


@dataclass(frozen=True, slots=True)
class Case:
    """A world, who lends to its domain, and how long a tick is."""

    world: World
    fleet: str
    tick_hours: int

    @property
    def lends(self) -> bool:
        return self.fleet not in ("none", "noise")

    def __str__(self) -> str:
        tick = "" if self.tick_hours == 1 else f", {self.tick_hours} h"
        return f"φ = {self.world.phi:g}, fleet {self.fleet}{tick}"


def case_of(phi: float, fleet: str, tick_hours: int, streams: int) -> Case:
    noise = NOISE_SD * (2.0 if fleet in LOUD else 1.0)
    world = World(phi=phi, streams=streams, reference_days=0, noise_sd=noise)
    return Case(world, fleet, tick_hours)


def young_specs(streams: int) -> list[StreamSpec]:
    """Page and ticket streams in turn, so that the first ones, which change, are of both."""
    tiers = [Tier.TICKET if k % 2 else Tier.PAGE for k in range(streams)]
    return [
        StreamSpec(Stream("score", "share", tier, slice=f"s={k}"), 1 / tiers.count(tier), 0.0)
        for k, tier in enumerate(tiers)
    ]


def ticks_of(run: Run, counts: Counts, tick_hours: int) -> tuple[FloatArray, FloatArray]:
    """Log odds (T, K) of ticks, and their variance at each stream's mean rate."""
    ticks = len(counts.rows) // tick_hours
    hits = counts.successes.reshape(ticks, tick_hours, -1).sum(axis=1)
    n = counts.rows.reshape(ticks, tick_hours).sum(axis=1)[:, None].astype(np.float64)
    rate = (1 / (1 + np.exp(-run.logit))).mean(axis=0)
    return np.log((hits + 0.5) / (n - hits + 0.5)), 1 / (np.maximum(n, 1.0) * rate * (1 - rate))


def followed(
    bank: Bank, ticks: tuple[FloatArray, FloatArray], tick_hours: int, until_hour: int
) -> tuple[Bank, list[tuple[int, int]]]:
    """The bank at an hour of its domain's life, and its alarms since: (hour, stream)."""
    since, until = bank.ticks, until_hour // tick_hours
    instants = starts(until * tick_hours)[::tick_hours][since:]
    y, v = (part[since:until] for part in ticks)
    after, found = advance_block(bank, instants, y, v)
    return after, [((since + tick + 1) * tick_hours, alarm.stream) for tick, alarm in found]


def lent(case: Case, seed: tuple[int, ...]) -> FleetPrior | None:
    """What three references of 28 days say to a domain that is drawn from the same seed."""
    if not case.lends:
        return None
    world = replace(case.world, reference_days=LENDER_DAYS)
    if case.fleet == ".3":
        world = replace(world, phi=0.3)
    if case.fleet == "half":
        world = replace(world, noise_sd=NOISE_SD)
    banks = []
    for number in range(LENDERS):
        season = (*seed, 90 + number) if case.fleet == "seasons" else (*seed, 9)
        run = draw(world, (*seed, 10 + number), 0, season_seed=season)
        y, v = ticks_of(run, run.counts(), case.tick_hours)
        tick_us = case.tick_hours * HOUR_US
        bank = start_bank(young_specs(world.streams), tick_us=tick_us, budget=Budget())
        banks.append(prime(bank, starts(world.cut)[:: case.tick_hours], y, v))
    return fleet_prior(banks)


def newborn(case: Case, seed: tuple[int, ...]) -> tuple[Bank, Run]:
    """A bank that has seen nothing, and the sixty days it will see."""
    run = draw(case.world, (*seed, 1), FOLLOWED_DAYS * 24, season_seed=(*seed, 9))
    bank = start_bank(
        young_specs(case.world.streams),
        tick_us=case.tick_hours * HOUR_US,
        budget=Budget(),
        prior=lent(case, seed),
    )
    return bank, run


def changed(run: Run, at_hour: int, odds_ratio: float) -> Counts:
    """The same history with the odds of the first streams multiplied from an hour on."""
    before_days, rest = divmod(at_hour - CHANGE_AT, 24)
    assert not rest
    return replace(run, world=replace(run.world, reference_days=before_days)).counts(odds_ratio)


@dataclass(frozen=True, slots=True)
class Life:
    """Alarms (hour, stream) of sixty quiet days, and of the days after each change.

    A change is (hour, odds ratio).
    """

    quiet: tuple[tuple[int, int], ...]
    after: dict[tuple[int, float], tuple[tuple[int, int], ...]]

    def delays(self, change: tuple[int, float], streams: list[int]) -> list[float]:
        """Hours to the first alarm, inf where none came; streams that had alarmed are left out."""
        at_hour = change[0]
        spoken = {stream for hour, stream in self.quiet if hour <= at_hour}
        return [
            min((hour - at_hour for hour, k in self.after[change] if k == stream), default=math.inf)
            for stream in streams
            if stream not in spoken
        ]


def life(case: Case, seed: tuple[int, ...], odds: tuple[float, ...]) -> Life:
    bank, run = newborn(case, seed)
    ticks = ticks_of(run, run.counts(), case.tick_hours)
    quiet: list[tuple[int, int]] = []
    after = {}
    for at_hour in CHANGED_AT_HOUR:
        bank, found = followed(bank, ticks, case.tick_hours, at_hour)
        quiet += found
        for ratio in odds:
            other = ticks_of(run, changed(run, at_hour, ratio), case.tick_hours)
            _, found = followed(bank, other, case.tick_hours, at_hour + AFTER_HOURS)
            after[at_hour, ratio] = tuple(found)
    _, found = followed(bank, ticks, case.tick_hours, FOLLOWED_DAYS * 24)
    return Life(tuple(quiet + found), after)


def line(case: Case, runs: int, delay_runs: int, seed: int) -> str:
    """One row of the tables, and one of delays for each change and tier."""
    specs = young_specs(case.world.streams)
    of_tier = {
        tier: [k for k, spec in enumerate(specs) if spec.stream.tier is tier] for tier in TIERS
    }
    # The same histories under every fleet.
    seeds = [(seed, 700, int(case.world.phi * 1000), number) for number in range(runs)]
    lives = [
        life(case, one, ODDS if number < delay_runs else ()) for number, one in enumerate(seeds)
    ]
    false = {
        (tier, days): np.array(
            [
                float(sum(k in streams and hour <= days * 24 for hour, k in one.quiet))
                for one in lives
            ]
        )
        for tier, streams in of_tier.items()
        for days in LOOKS
    }
    text = f"{case!s:32}{runs:>4}"
    for tier in TIERS:
        for days in LOOKS:
            text += f"{rate_of(false[tier, days], 1.0)!s:>24}"
    silent_us = FIRST_LENT_PAGE_US if case.lends else PROMISED_US
    exposed = FOLLOWED_DAYS - silent_us / DAY_US
    text += f"{rate_of(false[Tier.PAGE, FOLLOWED_DAYS], exposed / 30)!s:>24}"
    for change in lives[0].after:
        for tier, streams in of_tier.items():
            asked = [k for k in streams if k < CHANGED]
            seen = [one.delays(change, asked) for one in lives[:delay_runs]]
            text += f"\n    {tier.value} at {change[0]} h, ×{change[1]:g}: {_delay(seen)}"
    return text


def _delay(seen: list[list[float]]) -> str:
    """Median, mean over runs and share missed of delays (runs, changed streams) in hours."""
    clipped = [np.minimum(np.array(one), AFTER_HOURS) for one in seen if one]
    if not clipped:
        return "alarmed before"
    together = np.concatenate(clipped)
    mean, error = mean_error(np.array([one.mean() for one in clipped]))
    missed = float(np.mean([math.isinf(hours) for one in seen for hours in one]))
    return f"{np.median(together):.0f} h, {mean:.0f} ± {error:.0f}, {missed:.0%} of {len(together)}"


def cases(phis: list[float], fleets: list[str], tick_hours: list[int], streams: int) -> list[Case]:
    """The rows asked for; a fleet of φ = .3 is wrong only where the memory is much longer."""
    return [
        case_of(phi, fleet, hours, streams)
        for hours in tick_hours
        for fleet in fleets
        for phi in phis
        if fleet != ".3" or phi >= 0.9
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--delays", type=int, default=6, help="of the runs also with changes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phi", type=float, nargs="+", default=list(PHIS))
    parser.add_argument("--fleet", nargs="+", default=list(FLEETS), choices=FLEETS)
    parser.add_argument("--tick-hours", type=int, nargs="+", default=[1], choices=(1, 6))
    parser.add_argument("--streams", type=int, default=24)
    parser.add_argument("--small", action="store_true", help="2 runs of 8 streams, ticks of 6 h")
    given = parser.parse_args()
    if given.small:
        rows, runs, delay_runs = cases([0.6], ["none", "right"], [6], 8), 2, 1
    else:
        rows = cases(given.phi, given.fleet, given.tick_hours, given.streams)
        runs, delay_runs = given.runs, given.delays
    for case in rows:
        sys.stdout.write(line(case, runs, delay_runs, given.seed) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
