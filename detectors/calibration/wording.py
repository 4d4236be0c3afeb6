"""A calibration answer as one plain sentence with its numbers."""

from __future__ import annotations

from detectors.calibration.result import SLOPE_RANGE, Bounds, Calibration
from detectors.records import State


def words_for(result: Calibration) -> str:
    """The sentence a report prints: state, direction, size, interval, rows."""
    facts = _facts(result)
    note = f"; {result.note}" if result.note else ""
    if result.state is State.OK:
        return f"ok: scores mean what they {_meant(result)} ({facts}){note}"
    if result.state is State.DRIFT:
        return f"drift: {_direction(result)} ({facts}){note}"
    needed = _needed(result)
    if result.state is State.WATCH:
        doubt = "but the interval is too wide to be sure"
        return f"watch: {_direction(result)}, {doubt} ({facts}){needed}{note}"
    if result.intercept is None and result.slope is None:
        return f"undetermined: nothing can be estimated from {_rows(result)}{note}"
    return f"undetermined: too little data ({facts}){needed}{note}"


def _meant(result: Calibration) -> str:
    return "say" if result.relative_to == "outcomes" else "meant in the reference"


def _needed(result: Calibration) -> str:
    if result.rows_needed is None:
        return ""
    return f"; about {result.rows_needed:,} more labelled rows would decide it"


def _direction(result: Calibration) -> str:
    ratio, slope = result.observed_over_expected, result.slope
    intercept = result.intercept
    parts = []
    if result.unit != "log odds":
        if intercept is not None and abs(intercept) >= 0.05:
            side = "above" if intercept > 0.0 else "below"
            parts.append(f"labels lie {abs(intercept):.2f} sd {side} what is predicted")
    elif ratio is None and intercept is not None and abs(intercept) >= 0.05:
        parts.append(f"{'more' if intercept > 0.0 else 'fewer'} events than the scores promise")
    elif ratio is not None and abs(ratio - 1.0) >= 0.05 and intercept is not None:
        more = "more" if ratio > 1.0 else "fewer"
        parts.append(f"{100.0 * abs(ratio - 1.0):.0f} % {more} events than the scores promise")
    if slope is not None and not SLOPE_RANGE[0] <= slope <= SLOPE_RANGE[1]:
        parts.append(f"scores are too {'extreme' if slope < 1.0 else 'timid'}")
    return " and ".join(parts) or "scores no longer mean what they did"


def _facts(result: Calibration) -> str:
    parts = []
    if result.observed_over_expected is not None and result.unit == "log odds":
        parts.append(f"observed / expected {result.observed_over_expected:.2f}")
    if result.intercept is not None:
        unit = "" if result.unit == "log odds" else f" {result.unit}"
        parts.append(f"level {result.intercept:+.2f}{unit}{_ci(result.intercept_ci, '+.2f')}")
    if result.slope is not None:
        parts.append(f"slope {result.slope:.2f}{_ci(result.slope_ci, '.2f')}")
    parts.append(_rows(result))
    return ", ".join(parts)


def _rows(result: Calibration) -> str:
    return f"{result.rows:,} row{'' if result.rows == 1 else 's'}"


def _ci(ci: Bounds, form: str) -> str:
    lower, upper = ci
    if lower is None or upper is None:
        return ""
    return f" [{lower:{form}}, {upper:{form}}]"
