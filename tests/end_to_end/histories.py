"""A seeded two-domain history with references, late labels and one fault, as tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from detectors.records import DAY_US, HOUR_US, Categories, FloatArray, Window
from monitor.files.roles import Roles
from monitor.files.tables import Table, to_table

START_US = 1_750_000_000_000_000 // DAY_US * DAY_US


def history(
    *, days: int, rows_a_day: int, seed: int, first_day: int = 0, fault_day: int | None = None
) -> pa.Table:
    """Rows of domains "north" and "south"; from `fault_day` on south's labels are flipped half."""
    rng = np.random.default_rng(seed)
    parts = []
    for name, shift in (("north", 0.0), ("south", 0.4)):
        rows = days * rows_a_day
        day = first_day + np.sort(rng.integers(0, days, rows))
        ts_us = START_US + day * DAY_US + rng.integers(0, DAY_US, rows)
        age = rng.normal(40 + 5 * shift, 10, rows)
        spend = np.where(rng.random(rows) < 0.1, np.nan, rng.gamma(2.0, 10.0, rows))
        plan = rng.choice(["free", "pro", "team"], rows, p=[0.6, 0.3, 0.1])
        logit = -1.0 + shift + 0.05 * (age - 40) + np.where(plan == "pro", 0.8, 0.0)
        score = 1 / (1 + np.exp(-logit))
        label = (rng.random(rows) < score).astype(np.int8)
        if fault_day is not None and name == "south":
            flipped = (day >= fault_day) & (rng.random(rows) < 0.5)
            label = np.where(flipped, 1 - label, label).astype(np.int8)
        baseline = 1 / (1 + np.exp(-(logit + rng.normal(0, 0.7, rows))))
        parts.append(
            pa.table(
                {
                    "id": [f"{name}-{first_day}-{seed}-{i}" for i in range(rows)],
                    "ts": pa.array(ts_us, pa.timestamp("us", tz="UTC")),
                    "domain": [name] * rows,
                    "age": age,
                    "spend": pa.array(spend, from_pandas=True),
                    "plan": plan,
                    "score": score,
                    "baseline_score": baseline,
                    "label": label,
                    "label_ts": pa.array(
                        ts_us + rng.integers(HOUR_US, DAY_US, rows), pa.timestamp("us", tz="UTC")
                    ),
                }
            )
        )
    table = pa.concat_tables(parts)
    return table.sort_by("ts")


ROLES = Roles(
    id="id",
    timestamp="ts",
    domain="domain",
    score="score",
    baseline_score="baseline_score",
    label="label",
    label_timestamp="label_ts",
    slices=(("plan",),),
)


def as_table(arrow: pa.Table, *, like: Table | None = None) -> Table:
    """The history with its roles filled in."""
    return to_table(arrow.drop_columns(["id"]), replace(ROLES, id=None), like=like)


def part(arrow: pa.Table, *, since_us: int, until_us: int) -> pa.Table:
    """The rows with since <= ts < until."""
    ts = arrow.column("ts").cast(pa.int64()).to_numpy()
    return arrow.filter(pa.array((ts >= since_us) & (ts < until_us)))


__all__ = ["ROLES", "START_US", "Categories", "FloatArray", "Window", "as_table", "history", "part"]
