"""A seeded fleet whose inputs wander together from day to day, as tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from detectors.records import DAY_US
from monitor.files.roles import Roles
from monitor.files.tables import Table, to_table

START_US = 1_750_000_000_000_000 // DAY_US * DAY_US
REFERENCE_DAYS, DAYS = 35, 75
ROLES = Roles(timestamp="ts", domain="domain", score="score")
DOMAINS = ("east", "north", "south", "west", "centre")


def fleet(
    moved: Mapping[str, tuple[int, float]] | None = None,
    *,
    seed: int = 3,
    rows_a_day: int = 40,
    absent: Mapping[str, tuple[int, int]] | None = None,
) -> pa.Table:
    """Rows of five domains. `moved`: from a day on, income is higher by so many of its row sd.

    `absent`: days from and until which a domain sends nothing.
    """
    rng = np.random.default_rng(seed)
    weather = np.zeros(DAYS)
    for at in range(1, DAYS):
        weather[at] = 0.9 * weather[at - 1] + rng.normal(0, 0.5)
    parts = []
    for name in DOMAINS:
        day = np.repeat(np.arange(DAYS), rows_a_day)
        ts_us = START_US + day * DAY_US + rng.integers(0, DAY_US, len(day))
        income = weather[day] + rng.normal(0, 1, len(day))
        since, by = (moved or {}).get(name, (DAYS, 0.0))
        income = income + np.where(day >= since, by, 0.0)
        score = 1 / (1 + np.exp(-rng.normal(0, 1, len(day))))
        first, until = (absent or {}).get(name, (DAYS, DAYS))
        kept = (day < first) | (day >= until)
        parts.append(
            pa.table(
                {
                    "id": [f"{name}-{i}" for i in range(int(kept.sum()))],
                    "ts": pa.array(ts_us[kept], pa.timestamp("us", tz="UTC")),
                    "domain": [name] * int(kept.sum()),
                    "income": income[kept],
                    "score": score[kept],
                }
            )
        )
    return pa.concat_tables(parts).sort_by("ts")


def cut(rows: pa.Table) -> tuple[Table, Table]:
    """Reference and log."""
    ts = rows.column("ts").cast(pa.int64()).to_numpy()
    early = ts < START_US + REFERENCE_DAYS * DAY_US
    reference = to_table(rows.filter(pa.array(early)).drop_columns(["id"]), ROLES)
    log = to_table(rows.filter(pa.array(~early)).drop_columns(["id"]), ROLES, like=reference)
    return reference, log
