"""Base ticks of cohorts merged until a tick mean is fit for the tick-t interval.

Two things break the interval: tick means of a handful of rows or of no event at all (skewed),
and tick means that follow their predecessor (dependent). The first is met by a least size, the
second by doubling the tick while the autocorrelation is beyond noise; what doubling cannot see,
because it waits for 16 ticks and for proof, `dependence.long_run_factors` widens the interval by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import DAY_US, IntArray, Task
from detectors.transfer.dependence import autocorrelations
from detectors.transfer.sums import TransferSums

LEAST_ROWS = 20.0
LEAST_MINORITY = 2.0
DOUBLING_FROM = 16
NOISE_Z = 1.64
LEAST_AUTOCORRELATION = 0.1


def closing_ticks(
    sums: TransferSums, *, task: Task, minority_rate: float | None = None, ended: bool = False
) -> TransferSums:
    """Consecutive base ticks merged to >= 20 rows, >= 2 expected minority labels, >= a day.

    `minority_rate` is the share of the rarer class in the reference; None takes the share seen
    before the tick began, so that a tick never closes because of its own outcomes. Rows after
    the last closed tick wait for more, or join the last tick when the log has `ended`.
    """
    filled = sums.filled()
    if not len(filled.rows):
        return filled
    starts, open_from = _closed_runs(filled, task, minority_rate)
    if open_from == len(filled.rows):
        return filled.grouped(starts)
    if not ended:
        return filled.take(slice(0, open_from)).grouped(starts)
    return filled.grouped(starts if len(starts) else np.zeros(1, np.int64))


def _closed_runs(
    sums: TransferSums, task: Task, minority_rate: float | None
) -> tuple[IntArray, int]:
    """Where the closed runs begin, and the first base tick that no closed run holds."""
    rows = np.concatenate(([0.0], np.cumsum(sums.rows)))
    minority = np.concatenate(([0.0], np.cumsum(sums.minority)))
    day_end = (sums.start_us // DAY_US + 1) * DAY_US
    next_start = np.append(sums.start_us[1:], sums.start_us[-1] + base_spacing(sums.start_us))
    day_ends = np.flatnonzero(next_start >= day_end)  # base ticks that are the last of their day
    starts: list[int] = []
    first = 0
    while first < len(sums.rows):
        need = LEAST_ROWS
        if task is not Task.REGRESSION:
            rate = minority_rate
            if rate is None:
                rate = (minority[first] + 0.5) / (rows[first] + 1.0)
            need = max(need, LEAST_MINORITY / min(max(rate, 1e-4), 0.5))
        last = int(np.searchsorted(rows, rows[first] + need, side="left")) - 1
        if last >= len(sums.rows):
            break
        end = int(np.searchsorted(day_ends, last))
        if end == len(day_ends):
            break
        starts.append(first)
        first = int(day_ends[end]) + 1
    return np.array(starts, dtype=np.int64), first


def base_spacing(start_us: IntArray) -> int:
    """Length of a base tick: the smallest step seen, a day where there is none."""
    steps = np.diff(start_us)
    steps = steps[steps > 0]
    return int(min(steps.min(), DAY_US)) if steps.size else DAY_US


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Closed ticks (T,) and how many of them made one tick of the interval at each (T,)."""

    sums: TransferSums
    factor: IntArray

    def doubled(self, factor: int) -> TransferSums:
        """The closed ticks in whole runs of `factor`; what is left over waits."""
        whole = len(self.sums.rows) // factor * factor
        return self.sums.take(slice(0, whole)).grouped(np.arange(0, whole, factor))


def merge_ticks(
    sums: TransferSums, *, task: Task, minority_rate: float | None = None, ended: bool = False
) -> Merged:
    """Close ticks, then decide after each one, on all ticks so far, how often to double them.

    From 16 ticks on, the tick doubles while the lag-1 autocorrelation of its means is above
    max(.1, 1.64 / √ticks); it never halves. Each factor restarts from the first row.
    """
    closed = closing_ticks(sums, task=task, minority_rate=minority_rate, ended=ended)
    count = len(closed.rows)
    factors = np.ones(count, dtype=np.int64)
    merged = Merged(closed, factors)
    factor, since = 1, 0
    while count // factor >= DOUBLING_FROM:
        run = merged.doubled(factor)
        r = autocorrelations(run.difference / run.rows)
        ticks = np.arange(1, len(r) + 1)
        limit = np.maximum(LEAST_AUTOCORRELATION, NOISE_Z / np.sqrt(ticks))
        # judged at `since` again (doubling continues at once) and whenever a tick closes later
        judged = (ticks >= DOUBLING_FROM) & (ticks >= since // factor)
        over = np.flatnonzero(judged & (r > limit))
        if not over.size:
            break
        since = max(since, int(ticks[over[0]]) * factor)
        factor *= 2
        factors[since - 1 :] = factor
    return merged
