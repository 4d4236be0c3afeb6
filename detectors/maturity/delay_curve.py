"""How long labels take: the Kaplan-Meier estimate from rows whose label may still be to come.

A row without a label is not a row without an outcome: it has waited as long as it is old. Leaving
such rows out makes labels look faster than they are (Kaplan and Meier 1958).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray, IntArray, Window

NEVER_US = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class DelayCurve:
    """Ĝ, the share of labels that have come by an age, as steps.

    `age_us` (k,) ascend; `arrived` (k,) is Ĝ from that age on and `se` (k,) its Greenwood
    standard error; before the first step Ĝ is 0. `rows` were looked at, `labelled` of them had one.
    """

    age_us: IntArray
    arrived: FloatArray
    se: FloatArray
    rows: int
    labelled: int

    def at(self, age_us: IntArray | FloatArray) -> FloatArray:
        """Ĝ at ages (n,)."""
        steps = np.concatenate([[0.0], self.arrived])
        found: FloatArray = steps[np.searchsorted(self.age_us, age_us, side="right")]
        return found

    def age_at(self, share: float) -> int | None:
        """The least age by which this share of labels has come; None if it never has."""
        reached = np.flatnonzero(self.arrived >= share - 1e-12)
        return int(self.age_us[reached[0]]) if len(reached) else None


def delay_curve(window: Window, *, as_of_us: int) -> DelayCurve | None:
    """The curve of a window's labels as known at an instant; None without times or labels.

    A label that came before its event counts as delay 0; rows later than the instant are left out.
    """
    if window.ts_us is None or window.label is None or window.label_ts_us is None:
        return None
    waited = as_of_us - window.ts_us
    usable = (waited >= 0) & np.isfinite(window.weights()) & (window.weights() > 0.0)
    came = ~np.isnan(window.label) & (window.label_ts_us <= as_of_us)
    delay = np.where(came, np.maximum(window.label_ts_us - window.ts_us, 0), waited)
    if not usable.any() or not came[usable].any():
        return None
    return kaplan_meier(delay[usable], came[usable], window.weights()[usable])


def delay_ratio(before: DelayCurve, now: DelayCurve) -> float | None:
    """The age by which half of the labels that ever came had come, now over before.

    Where that many have not come yet it is at least the ratio told. None where labels came at once.
    """
    half = float(before.arrived[-1]) / 2
    was, is_now = before.age_at(half), now.age_at(half)
    if not was:
        return None
    return (int(now.age_us[-1]) if is_now is None else is_now) / was


def kaplan_meier(age_us: IntArray, came: np.ndarray, weight: FloatArray) -> DelayCurve:
    """From ages (n,) at which labels came, or at which rows without one were last looked at.

    A row that is exactly as old as another's delay still counts as waiting then.
    """
    order = np.argsort(age_us, kind="stable")
    age, arrived, mass = age_us[order], came[order].astype(np.float64), weight[order]
    steps, first = np.unique(age, return_index=True)
    events = np.add.reduceat(mass * arrived, first)
    squares = np.add.reduceat(mass**2, first)
    left = np.add.reduceat(mass, first)
    waiting = left[::-1].cumsum()[::-1]
    # With weights, Kish's effective number waiting takes the place of the count.
    effective = waiting**2 / squares[::-1].cumsum()[::-1]
    hazard = np.minimum(events / waiting, 1.0)
    staying = np.cumprod(1.0 - hazard)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(hazard < 1.0, hazard / (effective * (1.0 - hazard)), 0.0)
    se = staying * np.sqrt(np.cumsum(terms))
    kept = events > 0.0
    return DelayCurve(
        steps[kept].astype(np.int64),
        1.0 - staying[kept],
        se[kept],
        rows=len(age),
        labelled=int(arrived.sum()),
    )


def age_words(age_us: int | None) -> str:
    """An age for people: 40 min, 7 h, 3.5 d."""
    if age_us is None:
        return "not within sight"
    hours = age_us / 3.6e9
    if hours < 1:
        return f"{math.ceil(hours * 60)} min"
    return f"{hours:.3g} h" if hours < 72 else f"{hours / 24:.3g} d"
