"""A shop among thousands: too small to be followed, and yet told when its labels are off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner

from monitor.cli import cli

ROWS = 40_000
SHOPS = 800


def write(path: Path, seed: int, *, broken: bool) -> Path:
    rng = np.random.default_rng(seed)
    shop = rng.integers(0, SHOPS, ROWS)
    score = rng.beta(1.0, 4.0, ROWS)
    risk = np.where((shop == 11) & broken, 0.9, score)
    table = {
        "shop": pa.array([f"shop-{at}" for at in shop]),
        "score": score,
        "label": (rng.random(ROWS) < risk).astype(np.int64),
    }
    pq.write_table(pa.table(table), path)
    return path


def test_check_names_the_small_slice_and_says_how_many_it_looked_at(tmp_path: Path) -> None:
    reference = write(tmp_path / "reference.parquet", 1, broken=False)
    current = write(tmp_path / "current.parquet", 2, broken=True)
    asked = ["--reference", str(reference), "--current", str(current), "--model", "m"]
    found = CliRunner().invoke(cli, ["check", *asked, "--slice", "shop", "-o", "json"])
    report = json.loads(found.stdout)
    calibration = report["calibration"]
    (shop,) = calibration["slices"]
    assert shop["name"] == "shop=shop-11"
    assert shop["state"] in {"watch", "drift"}
    assert shop["observed_over_expected"] > 3.0
    assert "800 slices are undetermined" in calibration["too_small"]
    assert "800 were looked at for labels that are off beyond chance" in calibration["too_small"]
