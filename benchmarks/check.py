"""`kedge check` on two wide files: wall clock, CPU and peak memory of the whole command.

    python -m benchmarks.check [--rows 1000000] [--runs 5] [--output text]

Makes two Parquet files of 46 columns in a temporary folder (30 numeric with 2 % nulls, 15
categorical of 2 to 10,000 values, a score that depends on them), runs the command as a subprocess
and prints the smallest, middle and largest figure over the runs. Children are measured by the
operating system, so that imports and threads count.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

VALUES = (2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 3_000, 5_000, 7_000, 9_000, 10_000)
NUMBERS = 30
NULL_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    wall_s: float
    cpu_s: float
    peak_gb: float


def write_file(path: Path, *, rows: int, seed: int, shift: float) -> None:
    """One file; `shift` moves every seventh number by a tenth of its spread times this."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    columns: dict[str, pa.Array] = {}
    link = np.zeros(rows)
    for at in range(NUMBERS):
        values = rng.normal(size=rows) + (0.1 * shift if at % 7 == 0 else 0.0)
        link += 0.2 * values * (at < 6)
        values[rng.random(rows) < NULL_SHARE] = np.nan
        columns[f"number_{at}"] = pa.array(values * (at + 1), from_pandas=True)
    for at, many in enumerate(VALUES):
        codes = np.minimum(rng.pareto(1.2, rows) * many / 20, many - 1).astype(np.int32)
        words = pa.array([f"value {code}" for code in range(many)])
        columns[f"category_{at}"] = pa.DictionaryArray.from_arrays(pa.array(codes), words)
    columns["score"] = pa.array(1.0 / (1.0 + np.exp(1.0 - link)))
    pq.write_table(pa.table(columns), path)


def measure(arguments: list[str]) -> Run:
    """Run the command and wait for it; what it used comes from the kernel."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", "check", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        msg = f"kedge check ended with {process.returncode}"
        raise RuntimeError(msg)
    scale = 1e9 if platform.system() == "Darwin" else 1e6  # ru_maxrss: bytes there, kB elsewhere
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each file")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", choices=["text", "json", "html", "md"], default="text")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "reference.parquet"), Path(folder, "current.parquet")
        write_file(before, rows=given.rows, seed=1, shift=0.0)
        write_file(after, rows=given.rows, seed=2, shift=1.0)
        arguments = ["--reference", str(before), "--current", str(after), "-o", given.output]
        runs = [measure(arguments) for _ in range(given.runs)]
    columns = NUMBERS + len(VALUES) + 1
    print(
        f"kedge check, {given.rows:,} + {given.rows:,} rows x {columns} columns, -o {given.output}"
    )
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{given.runs} runs".ljust(20) + "min".rjust(9) + "median".rjust(9) + "max".rjust(9))
    for name, unit in (("wall_s", "s"), ("cpu_s", "s"), ("peak_gb", "GB")):
        values = [getattr(run, name) for run in runs]
        cells = (min(values), statistics.median(values), max(values))
        label = f"{name.rsplit('_', 1)[0]} ({unit})"
        print(label.ljust(20) + "".join(f"{value:9.2f}" for value in cells))


if __name__ == "__main__":
    main()
