"""Make two files of a made-up lender: what its model saw before April, and what since.

The model was trained on loans of the source domain and warm-started for one region, `north`.
From 1 May on the region's system sends `income` in cents instead of euros. Nobody has noticed.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY_S = 86_400
ROWS_A_DAY = 300


def loans(first_day: str, days: int, *, cents_from: str, seed: int) -> pa.Table:
    """`days` days of applications, scored by the transferred model and by the baseline."""
    rng = np.random.default_rng(seed)
    rows = days * ROWS_A_DAY
    ts = np.datetime64(first_day, "s") + np.sort(rng.integers(0, days * DAY_S, rows))
    age = rng.normal(42, 12, rows).clip(18, 90)
    income = rng.lognormal(10.3, 0.5, rows)
    channel = rng.choice(["branch", "web", "broker"], rows, p=[0.5, 0.3, 0.2])
    risk = -1.6 - 1.2 * (np.log(income) - 10.3) - 0.02 * (age - 42) + 0.7 * (channel == "broker")
    defaulted = rng.random(rows) < 1 / (1 + np.exp(-risk))

    sent = np.where(ts >= np.datetime64(cents_from), income * 100, income)
    seen = -1.6 - 1.2 * np.log(sent / np.exp(10.3)).clip(-2, 2) - 0.02 * (age - 42)
    transferred = seen + 0.7 * (channel == "broker")
    baseline = -1.6 - 0.02 * (age - 42) + rng.normal(0, 0.1, rows)  # knows nothing of income
    return pa.table(
        {
            "id": [f"{first_day}-{row}" for row in range(rows)],
            "ts": pa.array(ts, pa.timestamp("s", tz="UTC")),
            "domain": np.repeat("north", rows),
            "age": age,
            "income": sent,
            "channel": channel,
            "score": 1 / (1 + np.exp(-transferred)),
            "baseline_score": 1 / (1 + np.exp(-baseline)),
            "label": defaulted.astype(np.int8),
            "label_ts": pa.array(ts + np.timedelta64(7 * DAY_S, "s"), pa.timestamp("s", tz="UTC")),
        }
    )


if __name__ == "__main__":
    reference = loans("2026-02-01", 59, cents_from="2026-05-01", seed=1)
    current = loans("2026-04-01", 61, cents_from="2026-05-01", seed=2)
    for name, table in (("reference.parquet", reference), ("current.parquet", current)):
        pq.write_table(table, name)
        print(f"{Path(name)}: {table.num_rows:,} rows")
