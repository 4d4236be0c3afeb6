"""Label maturity as the plain JSON values of a report."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.maturity.delay_curve import DelayCurve
from detectors.maturity.report import LabelMaturity
from detectors.records import to_datetime
from monitor.reports.forms import finite, iso

MOST_POINTS = 60
MOST_COHORTS = 31
Z95 = 1.959964


def maturity_json(found: LabelMaturity | None) -> dict[str, Any] | None:
    """`label_maturity` of a report; None where nothing is known of delays."""
    if found is None:
        return None
    return {
        "as_of": iso(to_datetime(found.as_of_us)),
        "words": found.words,
        "delay": _curve(found.curve),
        "reference_delay": _curve(found.usual),
        "cohorts": [
            {
                "day": iso(to_datetime(cohort.start_us))[:10],
                "rows": cohort.rows,
                "labelled": cohort.labelled,
                "expected": finite(round(cohort.expected, 4)),
                "mature": cohort.mature,
            }
            for cohort in found.cohorts[-MOST_COHORTS:]
        ],
        "so_far": [
            {
                "what": one.what,
                "value": finite(one.value),
                "ci": [finite(bound) for bound in one.ci],
                "rows": one.rows,
                "effective_rows": finite(round(one.effective_rows, 1)),
                "words": one.words,
            }
            for one in found.so_far
        ],
    }


def _curve(curve: DelayCurve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    points = np.unique(
        np.linspace(0, len(curve.age_us) - 1, min(MOST_POINTS, len(curve.age_us))).astype(int)
    )
    return {
        "rows": curve.rows,
        "labelled": curve.labelled,
        "median_hours": _hours(curve.age_at(0.5)),
        "p95_hours": _hours(curve.age_at(0.95)),
        "points": [
            {
                "hours": _hours(int(curve.age_us[at])),
                "arrived": finite(float(curve.arrived[at])),
                "lower": finite(max(0.0, float(curve.arrived[at] - Z95 * curve.se[at]))),
                "upper": finite(min(1.0, float(curve.arrived[at] + Z95 * curve.se[at]))),
            }
            for at in points.tolist()
        ],
    }


def _hours(age_us: int | None) -> float | None:
    return None if age_us is None else round(age_us / 3.6e9, 3)
