"""How far the labels of a window have come, for people: curve, cohorts and early readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.maturity.cohorts import Cohort, cohorts_of
from detectors.maturity.delay_curve import NEVER_US, DelayCurve, age_words, delay_curve
from detectors.maturity.early import SoFar, readings_so_far
from detectors.records import DAY_US, Task, Window


@dataclass(frozen=True, slots=True, eq=False)
class LabelMaturity:
    """`curve` is the current window's, `usual` the reference's; either None where times lack.

    `so_far` reads the cohorts that are not mature, by the curve that has seen longer delays.
    """

    as_of_us: int
    curve: DelayCurve | None
    usual: DelayCurve | None
    cohorts: tuple[Cohort, ...]
    so_far: tuple[SoFar, ...]
    words: str


def label_maturity(reference: Window, current: Window, task: Task) -> LabelMaturity | None:
    """What can be said when nothing newer than the window's last event or label is known.

    None where the current window has no times or records no labels.
    """
    if current.ts_us is None or not current.rows or current.label is None:
        return None
    as_of_us = _latest(current)
    curve = delay_curve(current, as_of_us=as_of_us)
    usual = delay_curve(reference, as_of_us=_latest(reference)) if reference.rows else None
    expected = usual or curve
    if expected is None:
        return None
    cohorts = cohorts_of(current, expected, as_of_us=as_of_us)
    young = [cohort.start_us // DAY_US for cohort in cohorts if not cohort.mature]
    rows = np.isin(current.ts_us // DAY_US, np.array(young, dtype=np.int64))
    so_far: tuple[SoFar, ...] = ()
    if rows.any():
        so_far = readings_so_far(current.take(rows), expected, task=task, as_of_us=as_of_us)
    return LabelMaturity(as_of_us, curve, usual, cohorts, so_far, _words(curve, usual, cohorts))


def _latest(window: Window) -> int:
    """The newest instant that a window knows of."""
    if window.ts_us is None or not window.rows:
        return 0
    latest = int(window.ts_us[window.ts_us < NEVER_US].max(initial=0))
    if window.label is None or window.label_ts_us is None:
        return latest
    came = ~np.isnan(window.label) & (window.label_ts_us < NEVER_US)
    return max(latest, int(window.label_ts_us[came].max(initial=0)))


def _words(curve: DelayCurve | None, usual: DelayCurve | None, cohorts: Sequence[Cohort]) -> str:
    mature = sum(cohort.mature for cohort in cohorts)
    said = f"{mature} of {len(cohorts)} days have mature labels"
    if curve is None:
        return f"{said}; none has come yet"
    said += f"; half come within {age_words(curve.age_at(0.5))}, 95 % {_within(curve)}"
    if usual is not None:
        said += f" (reference {age_words(usual.age_at(0.5))}, {_within(usual)})"
    return said


def _within(curve: DelayCurve) -> str:
    age = curve.age_at(0.95)
    return age_words(age) if age is None else f"within {age_words(age)}"
