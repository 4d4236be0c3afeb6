"""Power around the practical effect: flat below it, steep above.

    python -m benchmarks.detection.power [--runs 8] [--small] [--hidden]

The simulator with 50,000 rows a tick and φ = .6, so that sampling noise hides nothing, under a
practical effect of .1 in log odds (odds × 1.105). The odds of five of 50 streams move by a multiple
of it on the third day and are followed for 15 days more.

Columns: the step in practical effects; the share of changed streams that page ± standard error
over runs, with the practical effect and without one (δ = 0); the median delay in hours of those
that page. The first row is no change: pages of any stream per 30 days.

With `--hidden`, whether a step inside the practical effect hides a large one: the first lasts so
many days, the second comes after it. Columns: the share of changed streams that page in the days
of the first step, then in ten days of the second, and the median delay of those after it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys

import numpy as np

from benchmarks.detection.no_change import LEFT_HOURS, PERIOD_HOURS, delays, follow
from benchmarks.detection.simulator import (
    CHANGE_AT,
    CHANGED,
    FOLLOWED_HOURS,
    World,
    draw,
    mean_error,
    primed,
    rate_of,
)
from detectors.records import FloatArray

PRACTICAL = 0.1
STEPS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
HIDING = (0.5, 0.75)
HIDDEN = (2.0, 3.0, 10.0)
HIDING_DAYS = (0, 2, 7, 21)
LEFT_DAYS = 10


def table(world: World, runs: int, seed: int) -> None:
    gates = (PRACTICAL, 0.0)
    pages: dict[float, list[int]] = {gate: [] for gate in gates}
    waited: dict[tuple[float, float], list[FloatArray]] = {
        (gate, step): [] for gate in gates for step in STEPS
    }
    for number in range(runs):
        run = draw(world, (seed, 700, number))
        for gate in gates:
            bank = primed(run, gate)
            pages[gate].append(len(follow(bank, run)))
            for step in STEPS:
                odds = math.exp(step * PRACTICAL)
                waited[gate, step].append(np.array(delays(follow(bank, run, odds), CHANGED)))
    heads = "".join(f"{f'δ = {gate:g}':>16}{'median h':>10}" for gate in gates)
    sys.stdout.write(f"{'step / δ':10}{heads}\n{'none':10}")
    for gate in gates:
        rate = rate_of(np.array(pages[gate]), FOLLOWED_HOURS / PERIOD_HOURS)
        sys.stdout.write(f"{f'{rate.mean:.2f} ± {rate.error:.2f}':>16}{'':10}")
    sys.stdout.write("  pages / 30 d\n")
    for step in STEPS:
        text = f"{step:<10g}"
        for gate in gates:
            seen = waited[gate, step]
            share = [np.mean(w[np.isfinite(w)] < LEFT_HOURS) for w in seen]
            mean, error = mean_error(np.array(share))
            found = np.concatenate(seen)
            found = found[found < LEFT_HOURS]
            median = f"{np.median(found):.0f}" if len(found) else "-"
            text += f"{f'{mean:.0%} ± {error:.0%}':>16}{median:>10}"
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def hidden_table(world: World, runs: int, seed: int) -> None:
    """The share that pages in the first step's days and in those of the second."""
    cases = list(itertools.product(HIDING, HIDDEN, HIDING_DAYS))
    longest = CHANGE_AT + 24 * (max(HIDING_DAYS) + LEFT_DAYS)
    waits: dict[tuple[float, float, int], list[FloatArray]] = {case: [] for case in cases}
    for number in range(runs):
        run = draw(world, (seed, 701, number), longest)
        bank = primed(run, PRACTICAL)
        for first, then, days in cases:
            odds, later = (math.exp(step * PRACTICAL) for step in (first, then))
            hours = CHANGE_AT + 24 * (days + LEFT_DAYS)
            pages = follow(bank, run, later, hours, (odds, 24 * days))
            waits[first, then, days].append(np.array(delays(pages, CHANGED, math.inf)) - 24 * days)
    sys.stdout.write(
        f"{'first':8}{'days':>6}{'then':>6}{'in the first':>16}{'second':>12}  median h\n"
    )
    for first, then, days in cases:
        seen = waits[first, then, days]
        early = np.mean([wait <= 0.0 for wait in seen])
        told = [np.mean(w[w > 0.0] < 24 * LEFT_DAYS) for w in seen if (w > 0.0).any()]
        share, error = mean_error(np.array(told))
        found = np.concatenate(seen)
        found = found[(found > 0.0) & (found < 24 * LEFT_DAYS)]
        text = f"{early:.0%}", f"{share:.0%} ± {error:.0%}"
        median = f"{np.median(found):.0f}" if len(found) else "-"
        sys.stdout.write(f"{first:<8g}{days:>6}{then:>6g}{text[0]:>16}{text[1]:>12}{median:>10}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="2 runs of 10 streams")
    parser.add_argument("--hidden", action="store_true", help="a small step before a large one")
    given = parser.parse_args()
    world = World(phi=0.6, rows=50_000, streams=10 if given.small else 20 if given.hidden else 50)
    chosen = hidden_table if given.hidden else table
    chosen(world, 2 if given.small else given.runs, given.seed)


if __name__ == "__main__":
    main()
