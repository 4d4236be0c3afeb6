"""How fast rows become tick summaries: 30 numeric and 15 categorical columns, and a score.

Run `python -m benchmarks.summarise`; `--rows` sets the size of the large window. Each line is
the best of three runs in CPU seconds of one core, compilation and import left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from detectors.records import Categories, ColumnSpec, Kind, Schema, Settings, Task, Window
from detectors.statistics import statistics
from detectors.streams import feature_streams, label_streams
from detectors.summary import TickSummary, fit_profile, summarise, summarise_labels

NUMERIC = 30
VOCABULARIES = [5] * 5 + [50] * 5 + [1_000] * 3 + [10_000] * 2
SPAN = {"start_us": 0, "end_us": 3_600_000_000}


def rows_of(rng: np.random.Generator, rows: int) -> Window:
    """Rows with 2 % nulls, labels, and a baseline."""
    numeric = {}
    for at in range(NUMERIC):
        values = rng.normal(size=rows)
        values[rng.random(rows) < 0.02] = np.nan
        numeric[f"n{at}"] = values
    categorical = {}
    for at, size in enumerate(VOCABULARIES):
        words = tuple(f"v{word}" for word in range(size))
        codes = np.minimum(rng.geometric(3.0 / size, rows) - 1, size - 1)
        categorical[f"c{at}"] = Categories(codes.astype(np.int32), words)
    score = rng.beta(1.0, 3.0, rows)
    return Window(
        rows=rows,
        score=score,
        baseline_score=np.clip(score + rng.normal(0.0, 0.1, rows), 0.0, 1.0),
        label=(rng.random(rows) < score).astype(np.float64),
        numeric=numeric,
        categorical=categorical,
    )


def best_of(work: Callable[[], object], repeats: int = 3) -> float:
    """Shortest of some runs, in CPU seconds: everything measured here runs in one thread."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    rng = np.random.default_rng(0)
    window = rows_of(rng, rows)
    columns = [ColumnSpec(name, Kind.NUMERIC) for name in window.numeric]
    columns += [ColumnSpec(name, Kind.CATEGORICAL) for name in window.categorical]
    schema = Schema(Task.BINARY, tuple(columns), slices=(("c0",), ("c0", "c5")))
    profile = fit_profile(rows_of(rng, 50_000), schema)
    weighted = replace(window, weight=rng.uniform(1.0, 4.0, rows))
    small = window.take(slice(0, 1_000))
    specs = feature_streams(profile, Settings()) + label_streams(profile, Settings())
    tick = summarise(small, profile, **SPAN).merge(summarise_labels(small, profile, **SPAN))
    blob = tick.to_bytes()

    def small_ticks() -> None:
        for _ in range(100):
            summarise(small, profile, **SPAN)

    table = [
        ("summarise", rows, lambda: summarise(window, profile, **SPAN)),
        ("summarise, weighted", rows, lambda: summarise(weighted, profile, **SPAN)),
        ("summarise_labels", rows, lambda: summarise_labels(window, profile, **SPAN)),
        ("summarise, 100 ticks of 1,000 rows", 100_000, small_ticks),
        ("fit_profile", rows, lambda: fit_profile(window, schema)),
    ]
    print(f"{'work':38}{'CPU s':>9}{'rows/s':>14}")
    for name, count, work in table:
        seconds = best_of(work)
        print(f"{name:38}{seconds:9.3f}{count / seconds:14,.0f}")
    print(f"\n{len(specs)} streams, {len(profile.slices)} slices, {len(blob):,} bytes a tick")
    reading = best_of(lambda: statistics(specs, profile, tick), 20)
    packing = best_of(lambda: TickSummary.from_bytes(tick.to_bytes()), 20)
    print(f"{'statistics of a tick':38}{1e6 * reading:9.0f} µs")
    print(f"{'tick to bytes and back':38}{1e6 * packing:9.0f} µs")


if __name__ == "__main__":
    main()
