"""Two faults in one window: are both among the first three names?

    python -m benchmarks.faults.two_faults --data DIR [--tables acs,resort] [--seeds 0,1]

Pairs are made of a way to draw rows (covariate or prior shift), a change of labels (concept,
label semantics), a fault of a column (absent, mismatch) and one of the scoring layer, each pair
from two different steps, so that both are really there. Every pair of steps, two variants each.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import torch

from benchmarks.faults.confusion import share_of
from benchmarks.faults.inject import Injector
from benchmarks.faults.model import Model, importance
from benchmarks.faults.tables import Rows, load
from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.records import BoolArray, FloatArray, Mode

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


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--tables", default="acs,resort")
    ask.add_argument("--seeds", default="0,1")
    ask.add_argument("--rows", type=int, default=3000)
    given = ask.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    found: list[tuple[tuple[str, str], bool, bool]] = []
    for table, seed in product(given.tables.split(","), map(int, given.seeds.split(","))):
        found += run(table, given.data, seed, given.rows)
    both = np.array([one[1] for one in found])
    either = np.array([one[2] for one in found])
    by_pair: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for pair, right, _ in found:
        by_pair[pair].append(right)
    print(f"{'first':28}{'second':28}both among three")
    for (one, other), hits in sorted(by_pair.items()):
        print(f"{one:28}{other:28}{sum(hits)} of {len(hits)}")
    print(f"\nboth among the first three {share_of(both)}, the first name one of them", end=" ")
    print(f"{share_of(either)}; {len(found)} windows, {time.perf_counter() - start:.0f} s")


def run(
    table: str, data: Path, seed: int, rows: int
) -> Iterator[tuple[tuple[str, str], bool, bool]]:
    split = load(table, data, seed)
    model = Model.transferred(split, seed)
    rng = np.random.default_rng(200 + seed)
    ranks = importance(model, split.reference.take(slice(0, 2000)), rng)
    injector = Injector(model, split.reference, split.pool, ranks, rng, rows)
    reference = split.reference.window(model.logit(split.reference))
    for first, second in combinations(steps(injector), 2):
        if first.order == second.order:
            continue
        drawn = injector.draw(first.weight if first.weight is not None else second.weight)
        for step in (first, second):
            drawn = step.change(drawn) if step.change else drawn
        logit = model.logit(drawn)
        for step in (first, second):
            logit = step.score(logit) if step.score else logit
        said = diagnose(
            reference, drawn.window(logit), split.reference.schema(), DiagnosisContext(seed=seed)
        )
        true = {first.mode, second.mode}
        pair = (first.mode.value, second.mode.value)
        yield pair, true <= set(said.candidates), said.mode in true


def steps(injector: Injector) -> list[Step]:
    number, other = injector.numeric[:2]
    category = injector.categorical[0]
    common, second, *_ = injector.by_count(category)
    high = float(np.nanquantile(injector.reference.numeric[number], 0.6))
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
