"""Where the budget goes: what the bet itself leaves unspent, and what each safeguard costs.

    python -m benchmarks.detection.budget_use [--runs 24] [--phi .6] [--small]

Pages per 30 days of a budget of 1, without any change, over 90 days of 50 streams. First the bet on
innovations that are exactly what it assumes (independent, Student's t with 5 degrees of freedom,
nothing fitted): what is missing to 1 there is overshoot, as a page spends more than its threshold.
Then a world of `simulator.py` with a fitted reference, its filter running on: without the two
trackers that widen, with a tracker of autocorrelation that chance alone moves, and as it is. The
level goes on being learnt in all of them. No fit is repeated in the 90 days.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.detection.simulator import World, draw, primed, rate_of, specs, starts, statistics
from detectors.evidence.budget import Plan, pace_of
from detectors.evidence.design import Design
from detectors.evidence.filter import follow
from detectors.evidence.grids import LASTING, Bets, both_ways
from detectors.evidence.reference import ticks_from
from detectors.evidence.state import (
    ACTIVE,
    C_REF,
    LONG,
    PHI,
    SCALE2,
    SHORT,
    C,
    FilterState,
    Pace,
    start_state,
)
from detectors.records import HOUR_US, Budget, FloatArray

DAYS = 90
HOURS = DAYS * 24
UNGATED = replace(LASTING, gate=0.0)
EARLIER = Bets(*both_ways((0.35, 0.6, 1.0, 1.7, 3.0, 5.0, 8.0), [1.0] * 7), 0.02, 0.0)
"""Seven sizes from .35 sd, alike, behind a gate of .02 whatever the memory."""
PACE = pace_of(Design(HOUR_US))
STILL = replace(PACE, scale_rate=0.0, correlation_rate=0.0)
EAGER = replace(PACE, correlation_slack=1.0)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to bet on the same ticks. `exact` ones get innovations that are just as assumed."""

    name: str
    bets: Bets
    pace: Pace
    exact: bool = False


VARIANTS = (
    Variant("exact innovations, no gate", UNGATED, STILL, exact=True),
    Variant("exact innovations, as it is", LASTING, STILL, exact=True),
    Variant("exact innovations, gate .02, from .35 sd", EARLIER, STILL, exact=True),
    Variant("fitted, no trackers, no gate", UNGATED, STILL),
    Variant("fitted, no trackers", LASTING, STILL),
    Variant("fitted, trackers without slack", LASTING, EAGER),
    Variant("fitted, as it is", LASTING, PACE),
    Variant("fitted, gate .02, from .35 sd, no slack", EARLIER, EAGER),
)


def pages(variant: Variant, state: FilterState, y: FloatArray, v: FloatArray, first: int) -> int:
    """Pages of one run; y and v (T, K) follow `first` ticks."""
    instants = starts(first + len(y))
    before = int(instants[first - 1])
    design = Design(0) if variant.exact else Design(HOUR_US)
    ticks = ticks_from(design, instants[first:], y, v, before_us=before, count_before=first)
    count = len(variant.bets.shifts)
    streams = y.shape[1]
    fresh = replace(
        state.copy(),
        wealth=np.zeros((streams, count)),
        onset=np.zeros((streams, count), np.int64),
        runs=np.zeros((streams, count, 4), np.float32),
    )
    if variant.pace is STILL:
        fresh.track[:, C] = fresh.track[:, C_REF] = fresh.track[:, SHORT] = 1.0
        fresh.track[:, LONG] = 0.0
    betting = Plan.of(specs(streams), Budget()).betting(np.ones((len(y), 2)))
    return len(follow(fresh, ticks, betting, variant.pace, bets=variant.bets))


def known(world: World) -> FilterState:
    """A filter that knows everything: level 0, scale 1, memory of which nothing is left."""
    streams = world.streams
    model = np.zeros((streams, 8))
    model[:, PHI] = world.phi
    model[:, SCALE2] = model[:, ACTIVE] = 1.0
    return start_state(np.zeros((streams, 1)), np.zeros((streams, 1)), model)


def table(world: World, runs: int, seed: int) -> None:
    found: dict[str, list[int]] = {variant.name: [] for variant in VARIANTS}
    for number in range(runs):
        run = draw(world, (seed, 900, number), HOURS)
        y, v = statistics(run.counts(), world.cut)
        bank = primed(run)
        assert bank.state is not None
        rng = np.random.default_rng((seed, 901, number))
        exact = np.asarray(rng.standard_t(5, (HOURS, world.streams)))
        for variant in VARIANTS:
            if variant.exact:
                state, seen = known(world), (exact, np.ones_like(exact))
            else:
                state, seen = bank.state, (y[world.cut :], v[world.cut :])
            found[variant.name].append(pages(variant, state, *seen, world.cut))
    sys.stdout.write(f"φ = {world.phi:g}, {runs} runs of {DAYS} days: pages / 30 d\n")
    for name, counts in found.items():
        sys.stdout.write(f"{name:44}{rate_of(np.array(counts), DAYS / 30)!s:>24}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--phi", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="2 runs of 10 streams")
    given = parser.parse_args()
    world = World(phi=given.phi, streams=10 if given.small else 50)
    table(world, 2 if given.small else given.runs, given.seed)


if __name__ == "__main__":
    main()
