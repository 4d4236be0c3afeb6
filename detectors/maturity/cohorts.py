"""Events of a day, and how many of their labels have come and should have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.maturity.delay_curve import DelayCurve
from detectors.records import DAY_US, Window

MATURE = 0.95
"""A cohort is mature when so many of its labels are expected to have come."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Events with start_us <= ts < start_us + a day. `expected` is the mean Ĝ of their ages."""

    start_us: int
    rows: int
    labelled: int
    expected: float

    @property
    def mature(self) -> bool:
        return self.expected >= MATURE


def cohorts_of(window: Window, curve: DelayCurve, *, as_of_us: int) -> tuple[Cohort, ...]:
    """One a day of a window, in order; rows later than the instant are left out."""
    if window.ts_us is None or window.label is None:
        return ()
    rows = np.flatnonzero(window.ts_us <= as_of_us)
    if not len(rows):
        return ()
    ts = window.ts_us[rows]
    came = ~np.isnan(window.label[rows])
    if window.label_ts_us is not None:
        came &= window.label_ts_us[rows] <= as_of_us
    expected = curve.at(as_of_us - ts)
    days, place = np.unique(ts // DAY_US, return_inverse=True)
    counts = np.bincount(place)
    labelled = np.bincount(place, weights=came)
    hoped = np.bincount(place, weights=expected) / counts
    return tuple(
        Cohort(int(day) * DAY_US, int(count), int(label), float(hope))
        for day, count, label, hope in zip(days, counts, labelled, hoped, strict=True)
    )
