"""Are the rows of a reference as exchangeable as row-by-row evidence needs them to be?

Ticks of exchangeable rows scatter about one level by their sampling variance and no more, and
one says nothing of the next. So the index of dispersion, the mean of (y - level)² / v, must lie
in [.8, 1.25] and the standardised ticks must pass the test of Ljung and Box (1978) at .01. A
season fails by its dispersion, as no season is taken out: row mode knows none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray

DISPERSION = (0.8, 1.25)
LEAST_P = 0.01
MOST_LAGS = 24
FEWEST_TICKS = 20
"""Below twenty ticks the dispersion itself is known to a third only: nothing is allowed."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What the reference ticks of one stream say. `p_value` is of no correlation at any lag."""

    passed: bool
    words: str
    dispersion: float = float("nan")
    p_value: float = float("nan")


def audit(y: FloatArray, v: FloatArray) -> Audit:
    """Judge the ticks of a stream: y, v (T,), v infinite where there is no data."""
    seen = np.isfinite(y) & np.isfinite(v) & (v > 0.0)
    ticks = int(seen.sum())
    if ticks < FEWEST_TICKS:
        return Audit(False, f"only {ticks} reference ticks; an audit needs {FEWEST_TICKS}")
    weight = 1.0 / v[seen]
    level = float(weight @ y[seen] / weight.sum())
    z = (y[seen] - level) * np.sqrt(weight)
    dispersion = float(z @ z) / (ticks - 1)
    low, high = DISPERSION
    if not low <= dispersion <= high:
        wild = "more" if dispersion > high else "less"
        return Audit(
            False,
            f"its ticks scatter {wild} than independent rows would (dispersion {dispersion:.3g})",
            dispersion,
        )
    p_value = ljung_box(z, min(MOST_LAGS, ticks // 4))
    words = f"dispersion {dispersion:.2f}, Ljung-Box p {p_value:.2g}"
    if p_value <= LEAST_P:
        return Audit(False, f"its ticks remember each other ({words})", dispersion, p_value)
    return Audit(True, words, dispersion, p_value)


def ljung_box(z: FloatArray, lags: int) -> float:
    """P-value of no autocorrelation of z (T,) up to `lags`; 1 for a constant."""
    from scipy.stats import chi2

    centred = z - z.mean()
    squares = float(centred @ centred)
    if not squares > 0.0:
        return 1.0
    n = len(z)
    r = np.array([centred[lag:] @ centred[:-lag] for lag in range(1, lags + 1)]) / squares
    q = n * (n + 2.0) * float((r**2 / (n - np.arange(1, lags + 1))).sum())
    return float(chi2.sf(q, lags))
