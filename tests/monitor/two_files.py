"""Small Parquet files for tests of `kedge check`, and hostile names for tests of what it prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner, Result

from monitor.cli import cli

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE x; --",
    "bell\x07 escape\x1b[31mred",
    "turned \u202etxt.exe",
    "line one\nline two | pipe",
    "[link](http://evil.example/x) `code` http://evil.example",
    "&amp;lt; {{ 7 * 7 }} {% raw %}",
    "x" * 10_000,
)


def rows_of(
    rows: int = 600, *, seed: int = 0, shift: float = 0.0, bias: float = 0.0
) -> dict[str, Any]:
    """A binary model's log: its inputs move by `shift`, its scores by `bias` in log odds."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40.0 + 12.0 * shift, 12.0, rows)
    job = rng.choice(["nurse", "cook", "clerk"], rows, p=[0.5, 0.3, 0.2])
    truth = 1.0 / (1.0 + np.exp(-(age - 40.0) / 8.0))
    label = (rng.random(rows) < truth).astype(int)
    return {
        "age": age,
        "job": job,
        "score": 1.0 / (1.0 + np.exp(-((age - 40.0) / 8.0 + bias))),
        "baseline_score": np.clip(0.7 * truth + 0.15, 0.01, 0.99),
        "label": label,
    }


def save(path: Path, columns: Mapping[str, Any]) -> str:
    pq.write_table(pa.table(dict(columns)), path)
    return str(path)


def pair(folder: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The arguments that name two files with these columns."""
    reference = save(folder / "before.parquet", before)
    return ["--reference", reference, "--current", save(folder / "after.parquet", after)]


def check(*arguments: str) -> Result:
    """The command, run in this process; a mendable error is `result.exception`."""
    return CliRunner().invoke(cli, ["check", *arguments], standalone_mode=False)


def report_of(*arguments: str) -> dict[str, Any]:
    """What `-o json` prints, refusing NaN and Infinity as every strict parser does."""
    result = check(*arguments, "-o", "json")
    assert result.exception is None, result.exception
    return strict_json(result.stdout)


def strict_json(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


@cache
def hostile_report() -> dict[str, Any]:
    """A real report over columns, categories, a model and a domain that strangers named."""
    import tempfile

    before, after = rows_of(seed=1), rows_of(seed=2, shift=1.0, bias=0.8)
    rng = np.random.default_rng(3)
    for at, name in enumerate(HOSTILE):
        if at % 2:
            before[name], after[name] = rng.normal(size=600), rng.normal(2.0, 1.0, 600)
        else:
            before[name] = rng.choice([*HOSTILE[:4], "plain"], 600)
            after[name] = rng.choice([*HOSTILE[4:], "plain"], 600)
    before["gone <b>"] = rng.normal(size=600)
    before["domain"] = after["domain"] = [HOSTILE[0]] * 600
    with tempfile.TemporaryDirectory() as folder:
        arguments = pair(Path(folder), before, after)
        return report_of(*arguments, "--model", HOSTILE[1], "--slice", HOSTILE[0])
