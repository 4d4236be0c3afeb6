"""Evidently's own DataDriftPreset, a day at a time. Runs in an environment of its own.

Prints one JSON object a folder: {"alarms": {rule: alarms (days, columns)}, "seconds": {rule: s of
processor}}. Columns of 0 and 1 are told to be
categorical; the preset then takes its own default test and threshold.
"""

import json
import re
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: E402
from evidently import (  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
    DataDefinition,
    Dataset,
    Report,
)
from evidently.presets import (  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
    DataDriftPreset,
)

TESTS: dict[str, dict[str, str]] = {"default": {}, "chi-square": {"cat_method": "chisquare"}}


def asked(folder: Path) -> dict[str, dict[str, object]]:
    reference = pd.read_parquet(folder / "reference.parquet")
    current = pd.read_parquet(folder / "current.parquet")
    columns = [name for name in reference if name != "day"]
    definition = DataDefinition(categorical_columns=columns)
    base = Dataset.from_pandas(reference[columns], data_definition=definition)
    found: dict[str, dict[str, object]] = {"alarms": {}, "seconds": {}}
    for rule, options in TESTS.items():
        began = time.process_time()
        days = []
        for day in sorted(current["day"].unique()):
            rows = Dataset.from_pandas(
                current.loc[current["day"] == day, columns], data_definition=definition
            )
            result = Report([DataDriftPreset(columns=columns, **options)]).run(rows, base).dict()
            drifted = {}
            for metric in result["metrics"]:
                name = re.search(r"column=(\w+)", metric.get("metric_name", ""))
                limit = re.search(r"threshold=([\d.eE-]+)", metric.get("metric_name", ""))
                if name and limit:
                    low_is_drift = "p_value" in metric["metric_name"]
                    value = float(metric["value"])
                    over = value < float(limit[1]) if low_is_drift else value >= float(limit[1])
                    drifted[name[1]] = bool(over)
            days.append([drifted[name] for name in columns])
        found["alarms"][rule] = days
        found["seconds"][rule] = time.process_time() - began
    return found


for folder in sys.argv[1:]:
    print(json.dumps(asked(Path(folder))), flush=True)
