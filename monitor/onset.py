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


def from_onset_on(current: Window, task: Task) -> Window:
    """The rows from the sharpest change of loss on, or all of them where none stands out.

    Losses where most rows have labels, else scores; rows without times or scores stay as they are.
    """
    if current.ts_us is None or current.score is None or current.rows < 2 * FEWEST_ROWS:
        return current
    ordered = current.take(np.argsort(current.ts_us, kind="stable"))
    assert ordered.score is not None
    seen = ~np.isnan(ordered.score)
    values = ordered.score
    if ordered.label is not None and np.isnan(ordered.label).mean() < 0.5:
        seen &= ~np.isnan(ordered.label)
        values = np.full(ordered.rows, np.nan)
        values[seen] = loss_of(task, ordered.score[seen], ordered.label[seen])
    places = np.flatnonzero(seen)
    split = _sharpest_split(values[places])
    return current if split is None else ordered.take(slice(int(places[split]), None))


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
