"""Power around the practical effect: flat below it, steep above.

    python -m benchmarks.detection.power [--runs 8] [--small]

The simulator with 50,000 rows a tick and φ = .6, so that sampling noise hides nothing, under a
practical effect of .1 in log odds (odds × 1.105). The odds of five of 50 streams move by a multiple
of it on the third day and are followed for 15 days more.

Columns: the step in practical effects; the share of changed streams that page ± standard error
over runs, with the practical effect and without one (δ = 0); the median delay in hours of those
that page. The first row is no change: pages of any stream per 30 days.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np

from benchmarks.detection.no_change import LEFT_HOURS, PERIOD_HOURS, delays, follow
from benchmarks.detection.simulator import (
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="2 runs of 10 streams")
    given = parser.parse_args()
    world = World(phi=0.6, rows=50_000, streams=10 if given.small else 50)
    table(world, 2 if given.small else given.runs, given.seed)


if __name__ == "__main__":
    main()
