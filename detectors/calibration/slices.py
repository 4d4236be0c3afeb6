"""Calibration of many slices: which stand up to having asked so often, and in what order."""

from __future__ import annotations

import numpy as np

from detectors.calibration.result import INTERCEPT_EFFECT, Numbers, SliceCalibration
from detectors.calibration.shrinkage import paule_mandel
from detectors.multiple import benjamini_hochberg
from detectors.records import State

FALSE_DISCOVERY = 0.05
SURE = 0.9


def ranked(found: list[tuple[str, Numbers]]) -> tuple[SliceCalibration, ...]:
    """Slices with shrunken intercepts and the states that survive the number of questions."""
    if not found:
        return ()
    p_values = np.array([np.nan if n.p_value is None else n.p_value for _, n in found])
    kept = benjamini_hochberg(p_values, FALSE_DISCOVERY)
    estimate = np.array([n.intercept or 0.0 for _, n in found])
    se = np.array([max(n.intercept_se, 1e-9) if n.intercept is not None else 1e3 for _, n in found])
    shrunk = paule_mandel(estimate, se)
    slices = []
    for at, (name, n) in enumerate(found):
        state = State.WATCH if n.state is State.DRIFT and not kept[at] else n.state
        slices.append(
            SliceCalibration(
                name=name,
                state=state,
                rows=n.rows,
                observed_over_expected=n.ratio,
                intercept=n.intercept,
                intercept_ci=n.intercept_ci,
                slope=n.slope,
                slope_ci=n.slope_ci,
                p_value=n.p_value,
                shrunk=None if n.intercept is None else float(shrunk.estimate[at]),
                shrunk_sd=None if n.intercept is None else float(shrunk.sd[at]),
                minimum_detectable=n.minimum_detectable,
                stands_out=n.intercept is not None
                and _beyond(float(shrunk.estimate[at]), float(shrunk.sd[at])) > SURE,
                note=n.note,
            )
        )
    return tuple(sorted(slices, key=lambda s: (-abs(s.shrunk or 0.0), s.name)))


def _beyond(estimate: float, sd: float) -> float:
    """Probability that a slice's level lies further out than the practical effect."""
    from scipy.special import ndtr

    if not sd > 0.0:
        return float(abs(estimate) > INTERCEPT_EFFECT)
    low, high = (-INTERCEPT_EFFECT - estimate) / sd, (INTERCEPT_EFFECT - estimate) / sd
    return float(ndtr(low) + ndtr(-high))
