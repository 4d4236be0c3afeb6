"""How much of the benefit a domain was taken in with is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import DAY_US
from detectors.transfer.review import robust_mean
from detectors.transfer.sums import TransferSums

RECENT_US = 28 * DAY_US
FEWEST_TICKS = 7
Z = 1.645


@dataclass(frozen=True, slots=True)
class Erosion:
    """Benefit (baseline's loss less the transferred model's) then and now, in loss units."""

    onboarding: float
    now: float
    change: float
    change_ci: tuple[float, float]
    eroded: bool
    words: str


def erosion_of(
    sums: TransferSums, *, onboarding: tuple[float, float] | None = None
) -> Erosion | None:
    """The last 28 days of cohorts against the onboarding level.

    `onboarding` is mean difference and its variance in the reference; None takes the first half
    of the cohorts, the last 28 days left out. None with under seven ticks on either side. The
    page about it comes from the transfer stream, which is budgeted; this is its size in words.
    """
    sums = sums.filled()
    if not len(sums.rows):
        return None
    recent = sums.start_us > sums.start_us[-1] - RECENT_US
    later = sums.take(recent)
    if len(later.rows) < FEWEST_TICKS:
        return None
    if onboarding is None:
        before = sums.take(~recent)
        before = before.take(slice(0, max(len(before.rows) // 2, FEWEST_TICKS)))
        if len(before.rows) < FEWEST_TICKS:
            return None
        level, error, _ = robust_mean(before.difference, before.rows)
        onboarding = (level, error**2)
    mean, se, _ = robust_mean(later.difference, later.rows)
    change = mean - onboarding[0]
    half = Z * float(np.sqrt(se**2 + onboarding[1]))
    eroded = change - half > 0.0
    then, now = -onboarding[0], -mean
    words = (
        f"the benefit was {then:.3g} at onboarding and is {now:.3g} in the last 28 days"
        f"{'' if eroded else ', which is within noise'}"
    )
    return Erosion(then, now, change, (change - half, change + half), eroded, words)
