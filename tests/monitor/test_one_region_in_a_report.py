"""Labels of one plan in 24 have another rule: every column is as before, and all is not well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from monitor.cli import cli


def write(path: Path, rows: int, seed: int, *, turned: bool) -> Path:
    rng = np.random.default_rng(seed)
    leaf, price = rng.integers(0, 24, rows), np.exp(rng.normal(2.0, 0.5, rows))
    z = -2.2 + 0.8 * rng.normal(size=rows) - 0.3 * (np.log(price) - 2)
    label = rng.random(rows) < 1 / (1 + np.exp(-z))
    label ^= turned & (leaf == 7) & (rng.random(rows) < 0.8)
    table = {
        "plan": pa.array([f"plan {at}" for at in leaf]),
        "price": price,
        "score": 1 / (1 + np.exp(-z)),
        "label": label.astype(np.int64),
    }
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("turned", [False, True])
def test_a_report_is_not_well_where_its_diagnosis_is_not(tmp_path: Path, turned: bool) -> None:
    reference = write(tmp_path / "reference.parquet", 6_000, 1, turned=False)
    current = write(tmp_path / "current.parquet", 800, 2, turned=turned)
    asked = ["check", "--reference", str(reference), "--current", str(current), "--model", "m"]

    report: dict[str, Any] = json.loads(CliRunner().invoke(cli, [*asked, "-o", "json"]).stdout)

    diagnosis = report["diagnosis"]
    if not turned:
        assert diagnosis["mode"] == "no problem"
        assert "likely cause" not in report["headline"]
        return
    assert (report["state"], diagnosis["mode"]) == ("watch", "concept shift")
    assert "nothing stands out alone; likely cause: concept shift" in report["headline"]
    assert diagnosis["columns"] == ["plan"]
    assert "between rows with `plan` = plan 7 and all others" in diagnosis["evidence"][0]
