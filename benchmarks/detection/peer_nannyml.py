"""NannyML's own univariate drift and summary statistics, by day, in an environment of its own.

Prints one JSON object: {rule: alarms (days, columns)}.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import nannyml as nml  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: E402

folder = Path(sys.argv[1])
tables = {}
for name in ("reference", "current"):
    table = pd.read_parquet(folder / f"{name}.parquet")
    begin = pd.Timestamp("2026-01-01") + pd.Timedelta(days=0 if name == "reference" else 28)
    table["ts"] = begin + pd.to_timedelta(table.pop("day"), unit="D")
    tables[name] = table
reference, current = tables["reference"], tables["current"]
columns = [name for name in reference if name != "ts"]
found = {}
for method in ("jensen_shannon", "chi2"):
    drift = nml.UnivariateDriftCalculator(
        column_names=columns,
        treat_as_categorical=columns,
        timestamp_column_name="ts",
        categorical_methods=[method],
        chunk_period="D",
    )
    drift.fit(reference)
    frame = drift.calculate(current).filter(period="analysis").to_df()
    found[f"univariate drift, {method}"] = [
        [bool(frame[(name, method, "alert")].iloc[day]) for name in columns]
        for day in range(len(frame))
    ]
averages = nml.SummaryStatsAvgCalculator(
    column_names=columns, timestamp_column_name="ts", chunk_period="D"
)
averages.fit(reference)
frame = averages.calculate(current).filter(period="analysis").to_df()
found["average ± 3 standard errors"] = [
    [bool(frame[(name, "alert")].iloc[day]) for name in columns] for day in range(len(frame))
]
print(json.dumps(found))
