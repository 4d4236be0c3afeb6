"""A great many damaged bodies and configurations: each is kept, or refused in words.

    python -m benchmarks.trust.fuzz_decoders --cases 1000000 --seed 0

Counts how cases ended. Anything but a batch or a refusal is a crash, which over HTTP would be a
500; its seed and number make it again: `python -m benchmarks.trust.fuzz_decoders --only 4711`.
Memory is looked at every tenth of the way, after a first tenth of warming up. Exit code 1 if
anything crashed, got through or leaked more than `MOST_GROWTH` bytes a case.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections import Counter
from functools import cache
from pathlib import Path

from alerts import notifiers
from tests.trust.cases import KINDS, judge, make_case

MOST_GROWTH = 20.0
"""Bytes a case: one number kept of each would be more."""
SHOWN_CRASHES = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="make this one case again and show what it does")
    given = parser.parse_args()
    if given.only is not None:
        case = make_case(given.seed, given.only)
        print(case)
        print(judge(case))
        return 0
    return fuzz(given.cases, given.seed)


def fuzz(cases: int, seed: int) -> int:
    # What is installed does not change meanwhile; looking for it took a fifth of the time.
    vars(notifiers)["entry_points"] = cache(vars(notifiers)["entry_points"])
    ended: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    crashes: list[str] = []
    began = time.monotonic()
    slowest = (0.0, 0)
    levels = []
    step = max(1, cases // 10)
    for number in range(cases):
        case = make_case(seed, number)
        at = time.monotonic()
        try:
            ended[case.kind][judge(case)] += 1
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            ended[case.kind][f"CRASH {type(error).__name__}"] += 1
            crashes.append(f"case {number}: {type(error).__name__} at {where}: {error!s:.200}")
        slowest = max(slowest, (time.monotonic() - at, number))
        if number % step == step - 1:
            gc.collect()
            levels.append(resident_bytes())
            print(f"{number + 1:,} cases, {len(crashes):,} crashes", file=sys.stderr, flush=True)
    took = time.monotonic() - began
    for kind, counted in ended.items():
        words = ", ".join(f"{end} {count:,}" for end, count in counted.most_common())
        print(f"{kind:13} {words}")
    growth = (levels[-1] - levels[0]) / max(1, cases - step)
    print(f"{cases:,} cases (seed {seed}) in {took:.0f} s, {len(crashes):,} crashes")
    print(f"slowest {1000 * slowest[0]:.0f} ms (case {slowest[1]}); {growth:+.1f} bytes a case")
    for line in crashes[:SHOWN_CRASHES]:
        print(line, file=sys.stderr)
    leaked = cases >= 100_000 and growth > MOST_GROWTH
    return 1 if crashes or leaked else 0


def resident_bytes(pid: int | str = "self") -> int:
    """Memory of a process that is in use (Linux)."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4_096


if __name__ == "__main__":
    sys.exit(main())
