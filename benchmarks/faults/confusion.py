"""Which cause does the diagnosis name when exactly one known fault is there? A confusion matrix.

    python -m benchmarks.faults.confusion --data DIR --seeds 1000-1049 --save FILE
    python -m benchmarks.faults.confusion --small          # the simulator, a few windows, no data
    python -m benchmarks.faults.confusion --read FILE ...  # the tables of what was saved

Every seed puts each mode, at each severity, into a window of its own: once in the simulator's
partner and once in a public set, seeds taking the sets in turn. A seed names the rows and, with
the number of its domain, the world; seeds of a thousand and more meet domains that those below
never meet. DIR holds a folder a set with `data.parquet` (`benchmarks/faults/tables.py`).

Right is the first name; right among two counts the runner-up. Detected is any name but "no
problem", "benign drift" and "undetermined"; a false diagnosis is such a name for a window without
a fault. Precision is with a flat prior over modes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.faults.inject import LEVELS, Fault, Injector, Severity
from benchmarks.faults.worlds import SIMULATOR, World, open_world
from detectors.diagnosis import DiagnosisContext, conclude
from detectors.findings.contrasts import Inputs, compare_inputs, measure
from detectors.findings.decision import CONTENT
from detectors.records import Mode
from detectors.schema import check_schema

SETS = ("acs", "resort", "flights", "beijing", "cars", "amazon")
MODES = (
    Mode.FEATURE_ABSENT,
    Mode.SCHEMA_MISMATCH,
    Mode.FORGETTING,
    Mode.EMBEDDING,
    Mode.PRIOR_SHIFT,
    Mode.LABEL_SEMANTICS,
    Mode.CONCEPT_SHIFT,
    Mode.COVARIATE_SHIFT,
    Mode.MISCALIBRATION,
    Mode.NEGATIVE_TRANSFER,
    Mode.BENIGN,
    Mode.NONE,
    Mode.STALE_EMBEDDINGS,
)
MORE_HEALTHY = 2
SILENT = CONTENT | {Mode.UNDETERMINED}
FRESH = 1000
"""Seeds from here on measure; those below were for tuning. They share no domain."""


@dataclass(frozen=True)
class Named:
    """A fault, what the diagnosis called it, and its second guess."""

    world: str
    seed: int
    rows: int
    severity: str
    kind: str
    true: str
    named: str
    runner_up: str
    numbers: dict[str, float]


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--data", type=Path)
    ask.add_argument("--worlds", default=f"{SIMULATOR},real")
    ask.add_argument("--seeds", default="0-4")
    ask.add_argument("--rows", default="3000")
    ask.add_argument("--modes", default="")
    ask.add_argument("--without-labels", action="store_true")
    ask.add_argument("--small", action="store_true")
    ask.add_argument("--least", type=float, default=0.0, help="fail below this share of right ones")
    ask.add_argument("--save", type=Path, help="add to this file, one JSON a line")
    ask.add_argument("--read", type=Path, nargs="*", default=[])
    given = ask.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    found = [Named(**json.loads(line)) for path in given.read for line in path.open()]
    if not given.read:
        wanted = given.modes.split(",") if given.modes else [mode.value for mode in MODES]
        modes = tuple(mode for mode in MODES if mode.value in wanted)
        seeds, worlds, rows = numbers(given.seeds), given.worlds.split(","), given.rows
        if given.small:
            seeds, worlds, rows = range(1), [SIMULATOR], "500"
        for seed in seeds:
            for name in worlds:
                for n in map(int, rows.split(",")):
                    world = world_of(name, seed, given.data)
                    new = list(run(world, seed, n, modes, labels=not given.without_labels))
                    found += new
                    if given.save:
                        with given.save.open("a") as out:
                            out.writelines(json.dumps(asdict(one)) + "\n" for one in new)
    print_all(found)
    print(f"\n{len(found)} windows, {time.perf_counter() - start:.0f} s")
    if sum(map(is_right, found)) < given.least * len(found):
        raise SystemExit(f"fewer than {given.least:.0%} named rightly")


def numbers(text: str) -> range:
    """`0-4` or `7`."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def world_of(name: str, seed: int, data: Path | None) -> World:
    """The world that a seed meets: one of a few, so that training them is shared."""
    fresh, number = divmod(seed, FRESH)
    if name == SIMULATOR:
        return opened(name, 100 * fresh + number // 6 % 4, data)
    chosen = SETS[number % len(SETS)] if name == "real" else name
    return opened(chosen, 101 * fresh + number // (2 * len(SETS)) % 2, data)


@cache
def opened(name: str, seed: int, data: Path | None) -> World:
    return open_world(name, seed, data)


def run(
    world: World, seed: int, rows: int, modes: Iterable[Mode] = MODES, *, labels: bool = True
) -> Iterator[Named]:
    """Diagnose one window for each mode and severity that the world carries at this size."""
    if rows > len(world.split.pool):
        return
    injector = Injector(world, np.random.default_rng([seed, rows]), rows, seed)
    plain = compare_inputs(world.reference, world.window(injector.plain), world.schema, seed=seed)
    for mode in modes:
        for severity in LEVELS[:1] if mode is Mode.NONE else LEVELS:
            fault = injector.fault(mode, severity)
            if fault is not None:
                yield diagnosed(world, fault, seed, plain, labels=labels)
    if Mode.NONE in modes:
        for _ in range(MORE_HEALTHY):
            healthy = world.window(injector.draw())
            fault = Fault(
                Mode.NONE, Severity.MILD, "none", world.reference, healthy, DiagnosisContext()
            )
            yield diagnosed(world, fault, seed, None, labels=labels)


def diagnosed(
    world: World, fault: Fault, seed: int, plain: Inputs | None, *, labels: bool
) -> Named:
    """What the product says; `plain` saves looking at inputs that the fault leaves alone."""
    current = fault.window if labels else replace(fault.window, label=None)
    shared = plain if fault.keeps_inputs and fault.reference is world.reference else None
    found = measure(
        fault.reference,
        current,
        world.schema,
        checks=check_schema(fault.reference, current, world.schema),
        seed=seed,
        inputs=shared,
        aside=False,
    )
    said = conclude(found, fault.context)
    flat = {key: value for key, value in asdict(found).items() if isinstance(value, float)}
    return Named(
        world.name,
        seed,
        current.rows,
        fault.severity.value,
        fault.kind,
        fault.mode.value,
        said.mode.value,
        said.runner_up.value if said.runner_up else "",
        flat,
    )


# ---- what is printed


def print_all(found: list[Named]) -> None:
    for rows in sorted({one.rows for one in found}, reverse=True):
        here = [one for one in found if one.rows == rows]
        print(f"\n## windows of {rows:,} rows\n")
        print_named(here)
        print_matrix(here)
        print_shares(here)
        print_wrong(here)


def print_named(found: list[Named]) -> None:
    """Every mode with what it was called where it was not called by its name."""
    print("| injected | windows | right | among two | otherwise named |\n|---|---|---|---|---|")
    for true in Mode:
        mine = [one for one in found if one.true == true]
        others = Counter(one.named for one in mine if not is_right(one))
        said = ", ".join(f"{count} {name}" for name, count in others.most_common())
        if mine:
            two = sum(map(among_two, mine))
            print(f"| {true} | {len(mine)} | {sum(map(is_right, mine))} | {two} | {said} |")
    print()


def print_matrix(found: list[Named]) -> None:
    """Rows are what was injected, columns what was named; then precision with a flat prior."""
    counts = Counter((one.true, one.named) for one in found)
    totals = Counter(one.true for one in found)
    names = [mode.value for mode in Mode if any(mode.value in key for key in counts)]
    print("| injected | windows | " + " | ".join(names) + " | right | among two | detected |")
    print("|---|" + "---|" * (len(names) + 4))
    for true in (name for name in names if totals[name]):
        mine = [one for one in found if one.true == true]
        cells = " | ".join(str(counts[true, name] or "") for name in names)
        print(
            f"| {true} | {totals[true]} | {cells} | {share_of(map(is_right, mine))} | "
            f"{share_of(map(among_two, mine))} | {share_of(map(detected, mine))} |"
        )
    print("| precision, flat prior | | ", end="")
    print(" | ".join(f"{value:.2f}" for value in precision(found, names)) + " | | | |")


def precision(found: list[Named], names: list[str]) -> list[float]:
    """How often each name is right where every injected mode is equally likely."""
    counts = Counter((one.true, one.named) for one in found)
    totals = Counter(one.true for one in found)
    kept = []
    for name in names:
        named = sum(counts[true, name] / totals[true] for true in totals)
        right = counts[name, name] / totals[name] if totals[name] else 0.0
        kept.append(right / named if named else float("nan"))
    return kept


def print_shares(found: list[Named]) -> None:
    print(f"\nright {share_of(map(is_right, found))}, ", end="")
    print(f"right among two {share_of(map(among_two, found))}; {len(found)} windows")
    healthy = [one for one in found if one.true in {Mode.NONE.value, Mode.BENIGN.value}]
    none = [one for one in healthy if one.true == Mode.NONE.value]
    for name, part in (("no fault", none), ("no fault or benign", healthy)):
        if part:
            print(f"false diagnoses, {name}: {share_of(map(detected, part))} of {len(part)}")
    print("\n| | right | among two | detected | windows |\n|---|---|---|---|---|")
    faulty = [one for one in found if one.true not in {Mode.NONE.value, Mode.BENIGN.value}]
    groups: dict[str, list[Named]] = defaultdict(list)
    for one in found:
        groups[one.world].append(one)
        groups["public sets" if one.world != SIMULATOR else "simulator "].append(one)
    for one in faulty:
        groups[f"{one.severity} faults"].append(one)
        groups[f"{one.severity} faults, {_place(one)}"].append(one)
    for name, part in groups.items():
        print(
            f"| {name.strip()} | {share_of(map(is_right, part))} | "
            f"{share_of(map(among_two, part))} | "
            f"{share_of(detected(one) for one in part if one in faulty)} | {len(part)} |"
        )


def _place(one: Named) -> str:
    return SIMULATOR if one.world == SIMULATOR else "public sets"


def print_wrong(found: list[Named]) -> None:
    wrong = Counter(
        (one.true, one.severity, one.kind.split(" ")[0], one.named)
        for one in found
        if not is_right(one)
    )
    print("\nwrong, by what was put in:")
    for (true, severity, kind, named), count in wrong.most_common(40):
        print(f"  {count} × {true}, {severity} ({kind}) → {named}")


def is_right(one: Named) -> bool:
    return one.true == one.named


def among_two(one: Named) -> bool:
    return one.true in {one.named, one.runner_up}


def detected(one: Named) -> bool:
    return Mode(one.named) not in SILENT


def share_of(hits: Iterable[bool]) -> str:
    """A share with its standard error."""
    right = np.array(list(hits), dtype=float)
    if not right.size:
        return "-"
    p = float(right.mean())
    return f"{100 * p:.1f} ± {100 * np.sqrt(p * (1 - p) / len(right)):.1f} %"


if __name__ == "__main__":
    main()
