"""Two faults in one window: are both among the first three names?

    python -m benchmarks.faults.two_faults --data DIR --seeds 1000-1005

Pairs are made of a way to draw rows (covariate or prior shift), a change of labels (concept,
label semantics), a fault of a column (absent, mismatch) and one of the scoring layer, each pair
from two different steps, so that both are really there. Every seed puts each pair into one window
of its world (`confusion.py` says which): the simulator and the public sets take turns.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from benchmarks.faults.confusion import numbers, share_of, world_of
from benchmarks.faults.inject import Injector
from benchmarks.faults.tables import Rows
from benchmarks.faults.worlds import SIMULATOR, World
from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.records import BoolArray, FloatArray, Mode

WORLDS = (SIMULATOR, "acs", "resort", "flights")
Change = Callable[[Rows], Rows]
Score = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Step:
    """One fault as a step of making a window; what is not set does nothing."""

    mode: Mode
    name: str
    order: int
    weight: FloatArray | None = None
    change: Change | None = None
    score: Score | None = None


@dataclass(frozen=True)
class Pair:
    """Two faults of one window: were both among three names, and was the first name one?"""

    world: str
    true: tuple[str, ...]
    both: bool
    first: bool


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--data", type=Path)
    ask.add_argument("--seeds", default="0-1")
    ask.add_argument("--rows", type=int, default=3000)
    given = ask.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    found: list[Pair] = []
    for seed in numbers(given.seeds):
        name = WORLDS[seed % len(WORLDS)] if given.data else SIMULATOR
        found += run(world_of(name, seed, given.data), seed, given.rows)
    by_pair: dict[str, list[bool]] = defaultdict(list)
    for one in found:
        by_pair[" + ".join(sorted(one.true))].append(one.both)
        by_pair[f"in {one.world}"].append(one.both)
    for pair, hits in sorted(by_pair.items()):
        print(f"{pair:56}{sum(hits)} of {len(hits)}")
    print(f"\nboth among the first three {share_of(one.both for one in found)}, ", end="")
    print(f"the first name one of them {share_of(one.first for one in found)}; ", end="")
    print(f"{len(found)} windows, {time.perf_counter() - start:.0f} s")


def run(world: World, seed: int, rows: int) -> Iterator[Pair]:
    """One window for each pair of steps that do not touch the same thing."""
    injector = Injector(world, np.random.default_rng([seed, 200]), rows, seed)
    for first, second in combinations(steps(injector), 2):
        if first.order == second.order:
            continue
        drawn = injector.draw(first.weight if first.weight is not None else second.weight)
        for step in (first, second):
            drawn = step.change(drawn) if step.change else drawn
        logit = world.served.logit(drawn)
        for step in (first, second):
            logit = step.score(logit) if step.score else logit
        said = diagnose(
            world.reference, world.window(drawn, logit), world.schema, DiagnosisContext(seed=seed)
        )
        true = {first.mode, second.mode}
        yield Pair(
            world.name,
            tuple(mode.value for mode in true),
            true <= set(said.candidates),
            said.mode in true,
        )


def steps(injector: Injector) -> list[Step]:
    number, other = injector.numeric[:2]
    category = injector.categorical[0]
    common, second, *_ = injector.by_count(category)
    high = float(np.nanquantile(injector.world.split.reference.numeric[number], 0.6))
    tilt = np.exp(0.7 * injector.standardised(number))

    def flipped(rows: Rows, where: BoolArray) -> Rows:
        return replace(rows, label=np.where(where, 1 - rows.label, rows.label))

    def swapped(rows: Rows) -> Rows:
        column = rows.categorical[category]
        value = np.where(column == common, second, np.where(column == second, common, column))
        return rows.with_category(category, value)

    return [
        Step(Mode.COVARIATE_SHIFT, "tilt", 0, weight=tilt),
        Step(Mode.PRIOR_SHIFT, "odds", 0, weight=np.where(injector.pool.label == 1, 4.0, 1.0)),
        Step(
            Mode.LABEL_SEMANTICS,
            "flip",
            1,
            change=lambda rows: flipped(rows, injector.some(0.3)),
        ),
        Step(
            Mode.CONCEPT_SHIFT,
            "region",
            1,
            change=lambda rows: flipped(rows, (rows.numeric[number] > high) & injector.some(0.6)),
        ),
        Step(
            Mode.SCHEMA_MISMATCH,
            "unit",
            2,
            change=lambda rows: rows.with_numeric(other, rows.numeric[other] * 1000),
        ),
        Step(Mode.SCHEMA_MISMATCH, "swap", 2, change=swapped),
        Step(
            Mode.FEATURE_ABSENT,
            "null",
            2,
            change=lambda rows: rows.with_numeric(other, np.full(len(rows), np.nan)),
        ),
        Step(Mode.MISCALIBRATION, "shift", 3, score=lambda logit: logit - 0.8),
        Step(Mode.MISCALIBRATION, "temperature", 3, score=lambda logit: logit * 1.5),
    ]


if __name__ == "__main__":
    main()
