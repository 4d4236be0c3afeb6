"""Bodies that a coverage-guided fuzzer makes for the decoders, starting from good ones.

    pip install atheris
    python -m benchmarks.trust.fuzz_guided --minutes 10

Where `fuzz_decoders` draws damage at random, this keeps what reaches code that nothing before it
reached, and damages that further. The first byte of an input chooses the decoder; what must hold
of what is kept, and of what is said of the rest, is the same. A case that breaks it is written to
the folder of `--found`, which `--replay FILE` tells again. atheris is no dependency of Kedge:
without it this says so and ends with 77, which is how test harnesses mark what was skipped.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import nullcontext
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

INSTRUMENTED = ["monitor", "alerts", "tests.trust.cases"]
SKIPPED = 77

try:
    engine: Any = importlib.import_module("atheris")
except ImportError:
    engine = None

# Modules report where they have been only if they are imported in here.
with engine.instrument_imports(include=INSTRUMENTED) if engine else nullcontext():
    from alerts import notifiers
    from tests.trust import cases
    from tests.trust.cases import KINDS, Case

LONGEST_BYTES = 4_096


def case_of(data: bytes) -> Case:
    """The case that bytes stand for: which decoder, zipped or not, and the body."""
    first = data[0] if data else 0
    kind = KINDS[first % len(KINDS)]
    return Case(kind, data[1:], zipped=first >= 128 and kind != "config")


def seeds(folder: Path) -> None:
    """A file for each good body of each decoder."""
    for number, kind in enumerate(KINDS):
        for body in cases._good(kind):
            if len(body) < LONGEST_BYTES:
                data = bytes([number]) + body
                (folder / sha256(data).hexdigest()[:16]).write_bytes(data)


class Fuzzer:
    """Judges inputs, counts how they end, and keeps those that break a promise."""

    def __init__(self, found: Path) -> None:
        self.found = found
        self.ended: Counter[str] = Counter()
        self.places: set[str] = set()

    def one(self, data: bytes) -> None:
        """One input. A fault does not end the run; each place is told once."""
        case = case_of(data)
        try:
            self.ended[cases.judge(case)] += 1
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            self.ended["CRASH"] += 1
            if where not in self.places:
                self.places.add(where)
                name = self.found / f"crash-{sha256(data).hexdigest()[:16]}"
                name.write_bytes(data)
                print(f"{case.kind}: {where}: {error!s:.200} ({name})", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--found", type=Path, default=Path("found"), help="folder for faults")
    parser.add_argument("--corpus", type=Path, help="folder to start from, and to keep")
    parser.add_argument("--replay", type=Path, help="tell this one again")
    given = parser.parse_args()
    if given.replay is not None:
        print(cases.judge(case_of(given.replay.read_bytes())))
        return 0
    if engine is None:
        print("skipped: atheris is not installed (pip install atheris)")
        return SKIPPED
    given.found.mkdir(parents=True, exist_ok=True)
    vars(notifiers)["entry_points"] = cache(vars(notifiers)["entry_points"])
    fuzzer = Fuzzer(given.found)
    with tempfile.TemporaryDirectory() as folder:
        corpus = given.corpus or Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        seeds(corpus)
        began = time.monotonic()

        def one(data: bytes) -> None:
            fuzzer.one(data)
            if time.monotonic() - began > 60 * given.minutes:
                _tell(fuzzer, time.monotonic() - began, len(list(corpus.iterdir())))
                # The engine does not return. It writes its corpus as it goes.
                os._exit(1 if fuzzer.ended["CRASH"] else 0)

        options = [f"-max_len={LONGEST_BYTES}", f"-seed={given.seed}"]
        engine.Setup([sys.argv[0], *options, str(corpus)], one)
        engine.Fuzz()
    return 0


def _tell(fuzzer: Fuzzer, seconds: float, corpus: int) -> None:
    total = sum(fuzzer.ended.values())
    words = ", ".join(f"{end} {count:,}" for end, count in fuzzer.ended.most_common())
    print(
        f"{total:,} cases in {seconds:.0f} s, {corpus:,} kept for what they reach: {words}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
