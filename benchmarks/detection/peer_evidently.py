"""Evidently's own DataDriftPreset, a day at a time. Runs in an environment of its own.

Prints one JSON object a folder: {"alarms": {rule: alarms (days, columns)}, "seconds": {rule: s of
processor}}. Columns of 0 and 1 are told to be categorical; the preset then takes its own default:
over 1,000 reference rows the Jensen-Shannon distance (natural logarithms) of .1 and more. The other
rule is its χ² test at its default of .05, which takes the reference as exact. An alarm is a test of
the preset that fails for a column; its verdict on all columns together is not asked for. Every
seventh row of the reference is given, about 100,000, as each report reads all of it again.
"""

import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ["DO_NOT_TRACK"] = "1"
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

TESTS: dict[str, dict[str, str]] = {
    "default: Jensen-Shannon ≥ .1": {},
    "χ², p < .05": {"cat_method": "chisquare"},
}

EVERY = 7


def asked(folder: Path) -> dict[str, dict[str, object]]:
    reference = pd.read_parquet(folder / "reference.parquet").iloc[::EVERY]
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
            preset = DataDriftPreset(columns=columns, **options)
            result = Report([preset], include_tests=True).run(rows, base).dict()
            drifted = {}
            for test in result["tests"]:
                column = test["metric_config"]["params"].get("column")
                if column is not None:
                    drifted[column] = str(test["status"]).endswith("FAIL")
            days.append([drifted[name] for name in columns])
        found["alarms"][rule] = days
        found["seconds"][rule] = time.process_time() - began
    return found


for folder in sys.argv[1:]:
    print(json.dumps(asked(Path(folder))), flush=True)
