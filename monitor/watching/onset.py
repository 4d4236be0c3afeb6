"""Where, among the rows an alarm points at, the change really began.

Evidence dates a change to where it last stood at nothing, which may be weeks early; rows from
before the change would dilute its picture. The split that best separates the model's losses
(or scores) in two is the maximum-likelihood change point of a mean (Hinkley 1970).
"""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray, Task, Window
from detectors.transfer.loss import loss_of

FEWEST_ROWS = 60
SURE_Z = 5.0
"""The best of a thousand splits of noise hardly ever passes 5."""


def from_onset_on(current: Window, task: Task, reference: Window | None = None) -> Window:
    """The rows from the sharpest change of loss on, or all of them where none stands out.

    Losses where most rows have labels, else scores; rows without times or scores stay as they
    are. With a reference, rows are only left out that are nearer to it than those kept: a
    change that was there all along may still have better and worse days.
    """
    if current.ts_us is None or current.score is None or current.rows < 2 * FEWEST_ROWS:
        return current
    ordered = current.take(np.argsort(current.ts_us, kind="stable"))
    labelled = ordered.label is not None and bool(np.isnan(ordered.label).mean() < 0.5)
    values = _values(ordered, task, labelled=labelled)
    places = np.flatnonzero(~np.isnan(values))
    split = _sharpest_split(values[places])
    if split is None:
        return current
    if reference is not None:
        usual = _values(reference, task, labelled=labelled)
        if not np.isnan(usual).all():
            before, after = values[places[:split]].mean(), values[places[split:]].mean()
            centre = float(np.nanmean(usual))
            if abs(before - centre) > 0.5 * abs(after - centre):
                return current
    return ordered.take(slice(int(places[split]), None))


def _values(window: Window, task: Task, *, labelled: bool) -> FloatArray:
    """Loss or score of each row (n,), NaN where it is not known."""
    if window.score is None or (labelled and window.label is None):
        return np.full(window.rows, np.nan)
    if not labelled:
        return window.score
    assert window.label is not None
    known = ~(np.isnan(window.score) | np.isnan(window.label))
    values = np.full(window.rows, np.nan)
    values[known] = loss_of(task, window.score[known], window.label[known])
    return values


def _sharpest_split(x: FloatArray) -> int | None:
    """First index after the best change of mean in x (n,), None where its z is below 5."""
    n = len(x)
    if n < 2 * FEWEST_ROWS:
        return None
    sums, squares = np.cumsum(x), np.cumsum(x * x)
    before = np.arange(FEWEST_ROWS, n - FEWEST_ROWS + 1)
    after = n - before
    gap = (sums[-1] - sums[before - 1]) / after - sums[before - 1] / before
    within = (
        squares[-1] - sums[before - 1] ** 2 / before - (sums[-1] - sums[before - 1]) ** 2 / after
    )
    spread = np.sqrt(np.maximum(within, 0.0) / (n - 2) * (1.0 / before + 1.0 / after))
    z = np.abs(gap) / np.maximum(spread, 1e-12)
    best = int(np.argmax(z))
    return int(before[best]) if z[best] >= SURE_Z else None
