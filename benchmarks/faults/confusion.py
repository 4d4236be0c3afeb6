"""Which cause does the diagnosis name when exactly one known fault is there? A confusion matrix.

    python -m benchmarks.faults.confusion --data DIR [--tables acs,resort] [--seeds 0,1,2]

DIR holds `acs_income_us_states/data.parquet` and `hotel_bookings_resort/data.parquet`. A network
is pre-trained on a source and fine-tuned on a domain, then every fault is injected into its own
window of fresh rows. Precision is with a flat prior over modes: what a named mode is worth when
every cause is equally likely. `--without-labels` hides the current labels, `--save FILE` keeps
every window's contrasts as JSON lines.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.faults.inject import Fault, Injector
from benchmarks.faults.model import Model, importance
from benchmarks.faults.tables import load
from detectors.diagnosis import DiagnosisContext, conclude
from detectors.findings.contrasts import Contrasts, measure
from detectors.records import FloatArray, Mode
from detectors.schema import check_schema


class Named(NamedTuple):
    """A fault, what the diagnosis called it, and its second guess."""

    table: str
    seed: int
    fault: str
    true: Mode
    named: Mode
    runner_up: Mode | None
    contrasts: Contrasts


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--tables", default="acs,resort")
    ask.add_argument("--seeds", default="0,1,2")
    ask.add_argument("--rows", type=int, default=3000, help="rows of a current window")
    ask.add_argument("--without-labels", action="store_true")
    ask.add_argument("--save", type=Path)
    given = ask.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    results: list[Named] = []
    for table in given.tables.split(","):
        for seed in map(int, given.seeds.split(",")):
            results += run(table, given.data, seed, given.rows, labels=not given.without_labels)
    print_matrix(results)
    print(f"\n{len(results)} windows of {given.rows} rows, {time.perf_counter() - start:.0f} s")
    if given.save:
        given.save.write_text("".join(f"{as_json(result)}\n" for result in results))


def run(table: str, data: Path, seed: int, rows: int, *, labels: bool = True) -> list[Named]:
    """Train one model and diagnose one window for each fault."""
    split = load(table, data, seed)
    model = Model.transferred(split, seed)
    rng = np.random.default_rng(100 + seed)
    ranks = importance(model, split.reference.take(slice(0, 2000)), rng)
    injector = Injector(model, split.reference, split.pool, ranks, rng, rows)
    schema = split.reference.schema()
    reference = split.reference.window(model.logit(split.reference))

    def named(fault: Fault) -> Named:
        logit: FloatArray = model.logit(fault.rows) if fault.logit is None else fault.logit
        current = fault.rows.window(logit)
        if not labels:
            current = dataclasses.replace(current, label=None)
        checks = check_schema(reference, current, schema)
        contrasts = measure(reference, current, schema, checks=checks, seed=seed)
        said = conclude(contrasts, DiagnosisContext(seed=seed))
        return Named(table, seed, fault.name, fault.mode, said.mode, said.runner_up, contrasts)

    return [named(fault) for fault in injector.faults()]


def print_matrix(results: list[Named]) -> None:
    counts = Counter((r.true, r.named) for r in results)
    modes = [mode for mode in Mode if any(mode in key for key in counts)]
    totals = Counter(r.true for r in results)
    share = {key: count / totals[key[0]] for key, count in counts.items()}
    print(f"{'injected':28}" + "".join(f"{mode.value[:11]:>12}" for mode in modes))
    for true in (mode for mode in modes if totals[mode]):
        print(f"{true.value:28}" + "".join(f"{counts[true, m] or '.':>12}" for m in modes))
    named = {m: sum(share.get((true, m), 0.0) for true in totals) for m in modes}
    precision = [share.get((m, m), 0.0) / named[m] if named[m] else float("nan") for m in modes]
    print(f"{'precision, flat prior':28}" + "".join(f"{value:12.2f}" for value in precision))
    right = np.array([r.true is r.named for r in results])
    second = np.array([r.true in (r.named, r.runner_up) for r in results])
    print(f"\nright {share_of(right)}, right or runner-up {share_of(second)}")
    for table in dict.fromkeys(r.table for r in results):
        print(f"  {table}: {share_of(right[[r.table == table for r in results]])}")
    wrong = Counter((r.fault, r.named) for r in results if r.true is not r.named)
    for (fault, mode), count in wrong.most_common():
        print(f"  {count} x {fault} -> {mode.value}")


def share_of(right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> str:
    p = float(right.mean())
    return f"{p:.1%} ± {np.sqrt(p * (1 - p) / len(right)):.1%}"


def as_json(result: Named) -> str:
    flat = dataclasses.asdict(result.contrasts)
    return json.dumps({**result._asdict(), "contrasts": flat})


if __name__ == "__main__":
    main()
