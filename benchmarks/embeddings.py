"""How long embeddings take, on one core, and how often stale ones are told from fresh ones.

    OMP_NUM_THREADS=1 python -m benchmarks.embeddings

CPU seconds of the best of three runs. Rows are Gaussian with a falling spectrum; maps of two
versions differ by a rotation, and what is embedded falls into 20 groups.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detectors.alignment.embedded import fit_map
from detectors.alignment.report import embedding_report
from detectors.alignment.staleness import VersionMap, served_by_old
from detectors.drift.embeddings import compare_embeddings
from detectors.profile import fit_profile
from detectors.records import HOUR_US, Schema, Settings, Task, Window
from detectors.streams import feature_streams, statistics
from detectors.summary import summarise


def window(rows: int, width: int, seed: int) -> Window:
    """Rows over 28 days whose label follows from the first directions."""
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(rows, width)) * (np.exp(-np.arange(width) / 12) + 0.05)
    p = 1 / (1 + np.exp(-2 * embedding[:, :3].sum(axis=1)))
    return Window(
        rows=rows,
        ts_us=np.sort(rng.integers(0, 28 * 24 * HOUR_US, rows)),
        embedding=embedding.astype(np.float32),
        score=p,
        label=(rng.random(rows) < p).astype(float),
    )


def cpu_s(what: Callable[[], object]) -> float:
    """The least CPU time of three runs."""
    took = []
    for _ in range(3):
        began = time.process_time()
        what()
        took.append(time.process_time() - began)
    return min(took)


def timings(rows: int, width: int) -> None:
    """The table of CPU seconds."""
    reference, current = window(rows, width, 0), window(rows, width, 1)
    schema = Schema(Task.BINARY, (), has_baseline=False, embedding_dim=width)
    profile = fit_profile(reference, schema)
    specs = feature_streams(profile, Settings())
    tick = current.take(slice(0, 1_000))
    found = compare_embeddings(reference, current)
    size = f"{rows:,} x {width} against as many"
    print(
        f"{size}: maximum mean discrepancy, p {found.p_value:.3f} from 200 permutations "
        f"of days: {cpu_s(lambda: compare_embeddings(reference, current)):.2f} s"
    )
    untimed = [Window(w.rows, embedding=w.embedding) for w in (reference, current)]
    rowwise = cpu_s(lambda: compare_embeddings(*untimed))
    print(f"the same without times, rows permuted: {rowwise:.2f} s")
    report = cpu_s(lambda: embedding_report(reference, current, Task.BINARY, {}))
    print(f"{size}: centres, plane and head of a report: {report:.2f} s")
    fitted = cpu_s(lambda: fit_map(reference, Task.BINARY))
    print(f"the map of a reference of {rows:,}: {fitted:.2f} s")
    one = cpu_s(lambda: summarise(tick, profile, start_us=0, end_us=1))
    summary = summarise(tick, profile, start_us=0, end_us=1)
    read = cpu_s(lambda: statistics(specs, profile, summary))
    print(
        f"a tick of 1,000 rows: summed in {1e3 * one:.1f} ms, {len(specs)} streams read in "
        f"{1e3 * read:.2f} ms, {len(summary.to_bytes()):,} bytes"
    )


def staleness(runs: int, width: int) -> None:
    """Rows of a new version of which a share carries old vectors: found, and false alarms."""
    print(f"stale vectors, {runs} runs of 500 rows, 300 anchors, {width} dimensions:")
    for share in (0.0, 0.1, 0.3, 1.0):
        found, guess = 0, []
        for seed in range(runs):
            rng = np.random.default_rng([seed, width])
            centres = rng.normal(size=(20, width))
            turn, _ = np.linalg.qr(rng.normal(size=(width, width)))
            sizes = np.exp(-np.arange(width) / 12) + 0.05

            def items(count: int) -> NDArray[np.float64]:
                rows = centres[rng.integers(0, 20, count)] + 0.7 * rng.normal(size=(count, width))  # noqa: B023
                return np.asarray(rows * sizes)  # noqa: B023

            anchors, rows = items(300), items(500)
            stale = int(share * len(rows))
            served = np.concatenate([rows[:stale], rows[stale:] @ turn]).astype(np.float32)
            maps = (
                VersionMap("1", anchors.astype(np.float32)),
                VersionMap("2", (anchors @ turn).astype(np.float32)),
            )
            told = served_by_old(served, ["2"] * len(served), maps)
            found += told is not None
            guess += [told.share] if told is not None else []
        mean = f", share found {np.mean(guess):.2f} ± {np.std(guess):.2f}" if guess else ""
        error = np.sqrt(max(found * (runs - found), 1) / runs**3)
        print(f"  {share:.0%} stale: said in {found / runs:.3f} ± {error:.3f} of runs{mean}")


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--runs", type=int, default=200)
    asked = parser.parse_args()
    timings(asked.rows, asked.width)
    staleness(asked.runs, asked.width)


if __name__ == "__main__":
    main()
