"""NannyML's own univariate drift and summary statistics, by day, in an environment of its own.

Prints one JSON object a folder: {"alarms": {rule: alarms (days, columns)}, "seconds": {rule: s of
processor}}. Each with its own default threshold: the Jensen-Shannon distance (logarithms of base
2) of a day beyond mean + 3 sd of the days of the reference, χ² p < .05, and the mean of a day
outside mean ± 3 sd of the means of the days of the reference.
"""

import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.filterwarnings("ignore")

import nannyml as nml  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: E402

METHODS = {"jensen_shannon": "Jensen-Shannon > mean + 3 sd", "chi2": "χ², p < .05"}


def asked(folder: Path) -> dict[str, dict[str, object]]:
    tables = {}
    for name in ("reference", "current"):
        table = pd.read_parquet(folder / f"{name}.parquet")
        begin = pd.Timestamp("2026-01-01") + pd.Timedelta(days=0 if name == "reference" else 28)
        table["ts"] = begin + pd.to_timedelta(table.pop("day"), unit="D")
        tables[name] = table
    reference, current = tables["reference"], tables["current"]
    columns = [name for name in reference if name != "ts"]
    found: dict[str, dict[str, object]] = {"alarms": {}, "seconds": {}}
    for method, title in METHODS.items():
        began = time.process_time()
        drift = nml.UnivariateDriftCalculator(
            column_names=columns,
            treat_as_categorical=columns,
            timestamp_column_name="ts",
            categorical_methods=[method],
            chunk_period="D",
        )
        drift.fit(reference)
        frame = drift.calculate(current).filter(period="analysis").to_df()
        found["alarms"][title] = [
            [bool(frame[(name, method, "alert")].iloc[day]) for name in columns]
            for day in range(len(frame))
        ]
        found["seconds"][title] = time.process_time() - began
    began = time.process_time()
    averages = nml.SummaryStatsAvgCalculator(
        column_names=columns, timestamp_column_name="ts", chunk_period="D"
    )
    averages.fit(reference)
    frame = averages.calculate(current).filter(period="analysis").to_df()
    found["alarms"]["daily mean ± 3 sd"] = [
        [bool(frame[(name, "alert")].iloc[day]) for name in columns] for day in range(len(frame))
    ]
    found["seconds"]["daily mean ± 3 sd"] = time.process_time() - began
    return found


for folder in sys.argv[1:]:
    print(json.dumps(asked(Path(folder))), flush=True)
