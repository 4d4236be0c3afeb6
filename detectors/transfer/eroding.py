"""Evidence that the benefit a domain was taken in with is going, day after day.

The streams of the engine go on learning their level, so a benefit that slides away slowly becomes
their new normal. This one holds every day against the level of onboarding, which stays. A day
counts against it from onboarding's level plus what may be ignored (the practical effect, or what
its own error could hide); from there on one-sided Gaussian likelihood ratios of four sizes share a
wealth, M ← (M + w·hours)·E, that files a ticket at the budget's threshold like any other stream.

A day's scale is the one of the days before it, never below what its rows explain, and wider where
days follow each other; nothing of a day decides how it is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import HOUR_US, FloatArray
from detectors.transfer.dependence import long_run_factors
from detectors.transfer.merging import base_spacing
from detectors.transfer.review import robust_mean
from detectors.transfer.sums import TransferSums

ONBOARDING_DAYS = 28
"""So many days stand for onboarding where the reference has no baseline."""
FEWEST_DAYS = 7
SIZES = (0.15, 0.3, 0.6, 1.2)
"""Alternatives, in sd of a day: a slide that takes two months, down to a step seen in days."""
Z = 1.645
MOST_Z = 3.0
"""A day counts as three sd at most: one wild day is no slide."""
MOST_LOG = 500.0


@dataclass(frozen=True, slots=True, eq=False)
class Eroding:
    """Evidence after each day (T,), M / A, an alarm at 1; where it alarmed, and since when.

    After an alarm a new bet begins on the next day. `onset` holds, for each alarm, the index of the
    day from which its leading alternative has been winning.
    """

    evidence: FloatArray
    alarms: tuple[int, ...]
    onset: tuple[int, ...]


def eroding(
    sums: TransferSums,
    *,
    onboarding: tuple[float, float] | None,
    step: float,
    weight: float,
    threshold_hours: float,
) -> Eroding:
    """Evidence over days of cohorts, each entry of `sums` one day with rows.

    `onboarding` is mean difference and its variance, None to take the first 28 days. `step` is
    a loss of benefit that may be ignored, in loss units; `weight` the share of the tier's budget.
    """
    count = len(sums.rows)
    evidence = np.zeros(count)
    begin = FEWEST_DAYS
    if onboarding is None:
        begin = ONBOARDING_DAYS
        if count > begin:
            first = sums.take(slice(0, begin))
            level, error, _ = robust_mean(first.difference, first.rows)
            onboarding = level, error**2
    if onboarding is None or count <= begin:
        return Eroding(evidence, (), ())
    means = sums.difference / sums.rows
    limit = onboarding[0] + max(step, Z * float(np.sqrt(onboarding[1])))
    z = np.minimum((means - limit) / _scales(sums, means), MOST_Z)
    sizes = np.array(SIZES)[:, None]
    log_bets = sizes * z - 0.5 * sizes**2  # (sizes, T)
    injected = np.log(weight * base_spacing(sums.start_us) / HOUR_US)
    alarms: list[int] = []
    onsets: list[int] = []
    while begin < count:
        won = np.cumsum(log_bets[:, begin:], axis=1)
        before = np.concatenate([np.zeros((len(SIZES), 1)), won[:, :-1]], axis=1)
        # M_t = Σ_s c E_s … E_t over every day s a bet may have begun on
        log_wealth = injected + won + np.logaddexp.accumulate(-before, axis=1)
        evidence[begin:] = np.exp(np.minimum(log_wealth, MOST_LOG)).mean(axis=0) / threshold_hours
        over = np.flatnonzero(evidence[begin:] >= 1.0)
        if not over.size:
            break
        day = int(over[0])
        leading = int(np.argmax(log_wealth[:, day]))
        alarms.append(begin + day)
        onsets.append(begin + int(np.argmin(before[leading, : day + 1])))
        begin += day + 1
    return Eroding(evidence, tuple(alarms), tuple(onsets))


def _scales(sums: TransferSums, means: FloatArray) -> FloatArray:
    """Sd (T,) of each day's mean, from the days before it; infinite where there is none."""
    rows = np.cumsum(sums.rows)
    centre = np.cumsum(sums.difference) / rows
    of_rows = np.maximum(np.cumsum(sums.difference2) / rows - centre**2, 0.0)
    days = np.arange(1.0, len(rows) + 1.0)
    spread = np.maximum(np.cumsum(sums.rows * means**2) / rows - centre**2, 0.0)
    of_days = spread * days / np.maximum(days - 1.0, 1.0) * (rows / days)  # times rows of a day
    variance = np.maximum(of_rows, of_days) * long_run_factors(means)
    before = np.concatenate(([np.inf], variance[:-1])) / sums.rows
    return np.sqrt(np.maximum(before, 1e-300))
