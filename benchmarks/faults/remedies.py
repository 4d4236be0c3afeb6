"""How often is a retraining that did nothing called verified, and one that worked refuted?

    python -m benchmarks.faults.remedies --runs 4000

Thirty reference days, thirty healthy ones, a change that adds a harm to the mean loss, a
completed retraining two weeks later, and a look each day until 28 days after it. A day's loss is a
level, a season, and noise of which half is sampling and half follows an AR(1) path; harm is in sd
of a day. In `autumn` the level falls by four of these within a hundred days, whatever is done. A
baseline, where there is one, has the same season and shares three quarters of the noise.

Beside the rule in use stands the one before it: the last three days against the reference's
level, no baseline, no memory.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from detectors.records import DAY_US, FloatArray, IntArray
from detectors.remedy import Answer, answer_of, remedy_of

REFERENCE, CHANGED, SERVED, DAYS = 30, 60, 74, 102
WITHIN = 7
MARGIN = 0.3
"""In sd of a day, like the harm."""
Z = 1.64


@dataclass(frozen=True, slots=True)
class World:
    """How days follow each other, how far the level falls by the end, and the harm."""

    name: str
    phi: float
    fall: float
    harm: float


WORLDS = (
    World("iid", 0.0, 0.0, 4.0),
    World("iid, small harm", 0.0, 0.0, 2.0),
    World("AR .5", 0.5, 0.0, 4.0),
    World("AR .8", 0.8, 0.0, 4.0),
    World("autumn", 0.0, -4.0, 4.0),
    World("autumn, AR .5", 0.5, -4.0, 4.0),
    World("spring", 0.0, 4.0, 4.0),
)


def path(rng: np.random.Generator, phi: float) -> FloatArray:
    """Days (DAYS,) of unit variance: half sampling, half memory."""
    noise = rng.normal(size=DAYS + 60)
    memory: FloatArray = lfilter([np.sqrt(1.0 - phi**2)], [1.0, -phi], noise)[60:]
    return np.asarray(np.sqrt(0.5) * (memory + rng.normal(size=DAYS)))


def losses(world: World, gone: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The served model's and the baseline's loss by day; `gone` is the share of harm removed."""
    day = np.arange(DAYS)
    season = world.fall * np.clip(day / DAYS, 0.0, 1.0)
    harm = np.where(day >= CHANGED, np.where(day >= SERVED, 1.0 - gone, 1.0), 0.0) * world.harm
    shared = np.sqrt(0.75) * path(rng, world.phi)
    own = [0.5 * path(rng, world.phi) for _ in range(2)]
    return season + shared + own[0] + harm, season + shared + own[1]


def by_days(y: FloatArray, level: float, fixed: float | None) -> Answer:
    """The rule in use, looked at each day."""
    start_us = np.arange(DAYS, dtype=np.int64) * DAY_US
    v = np.full(DAYS, 0.5)
    for day in range(SERVED + 1, DAYS):
        found = _look(start_us[REFERENCE:day], y[REFERENCE:day], v[REFERENCE:day], level, fixed)
        if found is None:
            continue
        late = day - SERVED >= WITHIN
        said = answer_of(found, margin=MARGIN, late=late, one_sided=True)
        if said is not Answer.OPEN:
            return said
    return Answer.OPEN


def _look(start_us: IntArray, y: FloatArray, v: FloatArray, level: float, fixed: float | None):  # type: ignore[no-untyped-def]
    return remedy_of(
        start_us,
        y,
        v,
        changed_us=CHANGED * DAY_US,
        served_us=SERVED * DAY_US,
        fallback=level,
        fixed=fixed,
    )


def by_raw_level(y: FloatArray, level: float) -> Answer:
    """The rule before: three days against the reference, and against the harm when asked for."""
    asked = y[CHANGED + 3 - 3 : CHANGED + 3].mean() - level
    for day in range(SERVED + 3, DAYS):
        last = y[day - 3 : day]
        effect = last.mean() - level
        error = np.sqrt(max(last.var() / 3, 0.5 / 3))
        inside = max(effect, 0.0) <= max(MARGIN, Z * error)
        if inside and Z * error <= 0.5 * abs(asked):
            return Answer.WORKED
        if not inside and day - SERVED >= WITHIN:
            return Answer.FAILED
    return Answer.OPEN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print("| days | harm gone | verified, refuted | with a baseline | the rule before |")
    print("|---|---|---|---|---|")
    for world in WORLDS:
        for gone in (0.0, 1.0, 0.5):
            rng = np.random.default_rng([given.seed, int(100 * gone)])
            said: list[list[Answer]] = [[], [], []]
            for _ in range(given.runs):
                served, baseline = losses(world, gone, rng)
                level = float(served[:REFERENCE].mean())
                apart = served - baseline
                said[0].append(by_days(served, level, None))
                said[1].append(by_days(apart, 0.0, float(apart[:REFERENCE].mean())))
                said[2].append(by_raw_level(served, level))
            shares = " | ".join(_shares(answers) for answers in said)
            print(f"| {world.name} | {gone:.0%} | {shares} |", flush=True)


def _shares(answers: list[Answer]) -> str:
    told = []
    for wanted in (Answer.WORKED, Answer.FAILED):
        share = sum(answer is wanted for answer in answers) / len(answers)
        told.append(f"{share:.3f} ± {np.sqrt(share * (1 - share) / len(answers)):.3f}")
    return ", ".join(told)


if __name__ == "__main__":
    main()
