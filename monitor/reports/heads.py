"""Slices and further outputs of the calibration answer, as JSON values."""

from __future__ import annotations

from typing import Any

from detectors.calibration.result import HeadCalibration, SliceCalibration, Spread


def calibrated_slice(part: SliceCalibration) -> dict[str, Any]:
    """A slice, or whatever is judged like one."""
    return {
        "name": part.name,
        "state": part.state.value,
        "rows": part.rows,
        "observed_over_expected": part.observed_over_expected,
        "intercept": part.intercept,
        "intercept_ci": list(part.intercept_ci),
        "slope": part.slope,
        "slope_ci": list(part.slope_ci),
        "p_value": part.p_value,
        "shrunk": part.shrunk,
        "stands_out": part.stands_out,
        "minimum_detectable": part.minimum_detectable,
        "note": part.note,
    }


def head_json(head: HeadCalibration) -> dict[str, Any]:
    """A class probability, a quantile, or half of a mean with an sd."""
    return {
        **calibrated_slice(head.part),
        "says": head.says,
        "level": head.level,
        "observed": head.observed,
        "observed_ci": list(head.observed_ci),
        "absolute": {
            "state": head.absolute.state.value,
            "observed_over_expected": head.absolute.ratio,
            "intercept": head.absolute.intercept,
            "intercept_ci": list(head.absolute.intercept_ci),
            "p_value": head.absolute.p_value,
        },
        "ece_debiased": head.ece_debiased,
        "ece_ci": list(head.ece_ci),
        "ecce_p": head.ecce_p,
        "spiegelhalter_p": head.spiegelhalter_p,
        "pinball": head.pinball,
        "pinball_reference": head.pinball_reference,
    }


def spread_json(spread: Spread) -> dict[str, Any]:
    """Standard residuals, and what would mend the forecast."""
    return {
        "rows": spread.rows,
        "mean": spread.mean,
        "mean_ci": list(spread.mean_ci),
        "sd": spread.sd,
        "sd_ci": list(spread.sd_ci),
        "sd_reference": spread.before,
        "pit_p": spread.pit_p,
        "mend": {"shift_sd": spread.shift, "factor": spread.factor},
    }
