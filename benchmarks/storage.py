"""How fast events and labels are kept and read back: no HTTP, one process, full sync.

Events have 46 columns (30 numbers, 15 categories, a score), 1,000 a batch, fresh ids, eight
domains. "batches a commit" is how many callers share one transaction.

    python -m benchmarks.storage [--url sqlite:///bench.db] [--batches 200]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from detectors.records import DAY_US, Categories, IntArray, Window, to_us
from storage.deployments import register_model
from storage.engine import open_database
from storage.identity import Identity
from storage.inbox import append_events, read_model
from storage.labels import append_labels
from storage.migrations import upgrade

ROWS = 1000
START = datetime(2026, 1, 1, tzinfo=UTC)
GROUPS = (1, 8, 32)


def times(number: int) -> IntArray:
    """One event a millisecond, batch after batch."""
    return to_us(START) + (number * ROWS + np.arange(ROWS)) * 1000


def make_window(rng: np.random.Generator) -> Window:
    """A batch of events; numbers have three decimals, as most features do."""
    values = tuple(f"value {number}" for number in range(20))

    def category() -> Categories:
        return Categories(rng.integers(-1, 20, ROWS).astype(np.int32), values)

    return Window(
        rows=ROWS,
        ts_us=times(0),
        score=rng.random(ROWS),
        numeric={f"num_{number:02}": np.round(rng.normal(size=ROWS), 3) for number in range(30)},
        categorical={f"cat_{number:02}": category() for number in range(15)},
        domain=Categories(
            rng.integers(0, 8, ROWS).astype(np.int32), tuple(f"domain {n}" for n in range(8))
        ),
    )


def measure(name: str, rows: int, work: Callable[[], object]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"| {name:<36} | {rows / wall:>12,.0f} | {rows / cpu:>12,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="an empty database; default: a temporary SQLite file")
    parser.add_argument("--batches", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(given.url or f"sqlite:///{Path(folder) / 'bench.db'}", given.batches)


def run(url: str, batches: int) -> None:
    database = open_database(url)
    upgrade(database)
    rng = np.random.default_rng(7)
    windows = [make_window(rng) for _ in range(8)]
    names = ["warm-up", *(f"group {group}" for group in GROUPS)]
    with database.write() as session:
        for name in names:
            register_model(session, name, START)
    warm, *identities = (Identity(database, name) for name in names)
    hi, lo = rng.integers(0, 2**64, (2, batches, ROWS), dtype=np.uint64)
    rows = batches * ROWS
    print(f"| {'':<36} | {'rows/s wall':>12} | {'rows/s CPU':>12} |")
    print("| --- | ---: | ---: |")

    def append(identity: Identity, group: int) -> None:
        for start in range(0, batches, group):
            with database.write() as session:
                for number in range(start, min(start + group, batches)):
                    window = windows[number % len(windows)]
                    window = replace(window, ts_us=times(number))
                    append_events(
                        session, identity, window, hi[number], lo[number], received_at=START
                    )

    append(warm, batches)
    for identity, group in zip(identities, GROUPS, strict=True):
        measure(f"append, {group} batches a commit", rows, partial(append, identity, group))

    def repeat() -> None:
        for number in range(batches):
            with database.write() as session:
                assert identities[0].known(session, hi[number], lo[number], times(number)).all()

    measure("recognise repeats", rows, repeat)

    def tell() -> None:
        for number in range(batches):
            with database.write() as session:
                came = np.full(ROWS, to_us(START) + DAY_US)
                label = (hi[number] % np.uint64(2)).astype(float)
                append_labels(session, identities[0], hi[number], lo[number], label, came, START)

    measure("append labels, 1 batch a commit", rows, tell)

    def read() -> None:
        with database.read() as session:
            found = read_model(session, identities[0].model, 0, 2**62)
        assert sum(window.rows for window in found.values()) == rows

    measure("read all domains, labels joined", rows, read)
    database.close()


if __name__ == "__main__":
    main()
