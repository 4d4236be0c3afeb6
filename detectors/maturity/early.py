"""What the labels so far say of cohorts that have not matured, and how unsure that is.

Quick labels stand for slow ones: a labelled row counts 1 / Ĝ(age of the row), the chance that its
label would have come by now (Chapelle 2014). That is right where delay and outcome are unrelated
given the age; where, say, defaults come late, early readings are too good. So they are shown as
"so far" and never enter evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.calibration.rows import effective_rows
from detectors.maturity.delay_curve import DelayCurve
from detectors.records import FloatArray, Task, Window
from detectors.transfer.loss import LOSS_NAME, loss_of

LEAST_ARRIVED = 0.05
"""Rows so young that fewer of their labels should have come are left out: 1 / Ĝ would explode."""
FEWEST_ROWS = 30
Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class SoFar:
    """A mean over rows whose label has come, weighted for those to come, with its 95 % interval.

    `rows` had a label; they are worth `effective_rows` after weighting. `value` is None where
    they are too few.
    """

    what: str
    value: float | None
    ci: tuple[float | None, float | None]
    rows: int
    effective_rows: float
    words: str


def early_weights(window: Window, curve: DelayCurve, *, as_of_us: int) -> FloatArray:
    """1 / Ĝ(age) of each row (n,) times its own weight; 0 where no label has come or may yet."""
    if window.ts_us is None or window.label is None:
        return np.zeros(window.rows)
    came = ~np.isnan(window.label) & (window.ts_us <= as_of_us)
    if window.label_ts_us is not None:
        came &= window.label_ts_us <= as_of_us
    arrived = curve.at(as_of_us - window.ts_us)
    usable = came & (arrived >= LEAST_ARRIVED)
    weight: FloatArray = np.where(usable, window.weights() / np.where(usable, arrived, 1.0), 0.0)
    return weight


def early_mean(values: FloatArray, weight: FloatArray, what: str) -> SoFar:
    """Weighted mean of values (n,) and its interval, wider where few stand for many.

    The variance is that of a ratio of sums, Σω²(x - mean)² / (Σω)², so a row that stands for five
    adds 25 times what one that stands for itself does.
    """
    kept = (weight > 0.0) & np.isfinite(values)
    x, w = values[kept], weight[kept]
    worth = effective_rows(w)
    if len(x) < FEWEST_ROWS:
        words = f"{what} so far: {len(x)} labelled rows are too few"
        return SoFar(what, None, (None, None), len(x), worth, words)
    mean = float(w @ x) / float(w.sum())
    se = float(np.sqrt((w**2) @ (x - mean) ** 2)) / float(w.sum())
    ci = (mean - Z95 * se, mean + Z95 * se)
    words = (
        f"{what} so far {mean:.3g} ({ci[0]:.3g} to {ci[1]:.3g}), {len(x):,} labelled rows worth "
        f"{worth:,.0f}; later labels may differ"
    )
    return SoFar(what, mean, ci, len(x), worth, words)


def readings_so_far(
    window: Window, curve: DelayCurve, *, task: Task, as_of_us: int
) -> tuple[SoFar, ...]:
    """Mean label and mean loss, and the loss against the baseline where there is one."""
    if window.label is None:
        return ()
    weight = early_weights(window, curve, as_of_us=as_of_us)
    found = [early_mean(window.label, weight, "mean label")]
    if window.score is not None:
        loss = loss_of(task, window.score, window.label)
        found.append(early_mean(loss, weight, f"mean {LOSS_NAME[task]}"))
        if window.contrast is not None:  # another loss was chosen
            difference = window.contrast[:, 0]
            found.append(early_mean(difference, weight, "the verdict's loss less the baseline's"))
        elif window.baseline_score is not None:
            difference = loss - loss_of(task, window.baseline_score, window.label)
            found.append(early_mean(difference, weight, f"{LOSS_NAME[task]} less the baseline's"))
    return tuple(found)
