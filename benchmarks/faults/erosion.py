"""How often is a benefit said to erode that does not, and how soon is one seen that does?

    python -m benchmarks.faults.erosion --runs 1000

Days of 100 rows with a paired loss difference of sd .4 a row and a benefit of .04; days follow an
AR(1) path that makes up two thirds of a day's variance. A reference of 60 days gives the level of
onboarding, or the first 28 live days do. 180 live days at the default budget: tickets in 30 days
while nothing changes (the stream may file one), and after day 60 a step that takes half of the
benefit, or a slide that takes all of it in 90 days: the share found in the 120 days left, and the
median day.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.signal import lfilter

from detectors.records import DAY_US, Budget, FloatArray, Tier
from detectors.transfer.eroding import eroding
from detectors.transfer.erosion import erosion_of
from detectors.transfer.review import robust_mean
from detectors.transfer.sums import TransferSums
from monitor.watching.erosion import SHARE

REFERENCE, LIVE, CHANGE = 60, 180, 60
ROWS, ROW_SD, BENEFIT, BASELINE_LOSS = 100, 0.4, 0.04, 0.5
STEP = 0.02 * BASELINE_LOSS


def days(phi: float | None, rng: np.random.Generator) -> FloatArray:
    """Day means (REFERENCE + LIVE,) around minus the benefit; phi None: independent rows."""
    count = REFERENCE + LIVE
    own = rng.normal(size=count) * ROW_SD / np.sqrt(ROWS)
    if phi is None:
        still: FloatArray = own - BENEFIT
        return still
    noise = rng.normal(size=count + 60)
    path: FloatArray = lfilter([np.sqrt(1.0 - phi**2)], [1.0, -phi], noise)[60:]
    moved: FloatArray = own + np.sqrt(2.0 / ROWS) * ROW_SD * path - BENEFIT
    return moved


def sums_of(means: FloatArray) -> TransferSums:
    rows = np.full(len(means), float(ROWS))
    return TransferSums(
        np.arange(len(means), dtype=np.int64) * DAY_US,
        rows,
        means * rows,
        (means**2 + ROW_SD**2) * rows,
        BASELINE_LOSS * rows,
        0.3 * rows,
    )


def tickets(means: FloatArray, with_reference: bool) -> list[int]:
    """Days on which a ticket is filed, as the daemon files them."""
    before, live = sums_of(means[:REFERENCE]), sums_of(means[REFERENCE:])
    level, error, _ = robust_mean(before.difference, before.rows)
    onboarding = (level, error**2) if with_reference else None
    found = eroding(
        live,
        onboarding=onboarding,
        step=STEP,
        weight=SHARE,
        threshold_hours=Budget().threshold_hours(Tier.TICKET),
    )
    sizes = [erosion_of(live.take(slice(0, a + 1)), onboarding=onboarding) for a in found.alarms]
    return [a for a, size in zip(found.alarms, sizes, strict=True) if size and size.eroded]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    day = np.arange(-REFERENCE, LIVE)
    step = np.where(day >= CHANGE, 0.5 * BENEFIT, 0.0)
    slide = BENEFIT * np.clip((day - CHANGE) / 90.0, 0.0, 1.0)
    print("| onboarding | days are | tickets / 30 d | half gone in a step | all gone in 90 d |")
    print("|---|---|---|---|---|")
    for with_reference in (True, False):
        for phi in (None, 0.3, 0.5, 0.8):
            rng = np.random.default_rng(given.seed)
            quiet: list[int] = []
            found: dict[str, list[float]] = {"step": [], "slide": []}
            for _ in range(given.runs):
                means = days(phi, rng)
                quiet.append(len(tickets(means, with_reference)))
                for name, change in (("step", step), ("slide", slide)):
                    late = [a for a in tickets(means + change, with_reference) if a >= CHANGE]
                    found[name].append(late[0] - CHANGE if late else np.inf)
            rate = np.array(quiet) * 30.0 / LIVE
            told = [f"{rate.mean():.3f} ± {rate.std() / np.sqrt(given.runs):.3f}"]
            told += [
                f"{np.isfinite(waits).mean():.2f}, day {np.median(waits):.0f}"
                for waits in found.values()
            ]
            where = "reference" if with_reference else "first 28 days"
            kind = "iid" if phi is None else f"AR {phi}"
            print(f"| {where} | {kind} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
