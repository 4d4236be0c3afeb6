"""Does a new version still know its source? A frozen labelled probe set, scored by every version.

New information comes only with a new version, so the error rate is spent by version, not by
tick: version v may spend alpha * gamma_v, gamma_v = 6 / (pi^2 v^2), which sums to one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray, State, Task
from detectors.transfer.loss import loss_of

ALPHA = 0.05
MARGIN = 0.02
"""Two per cent of the loss before."""

FEWEST = 200
ENOUGH = 2_000
"""With 200 rows a rise of .05 was missed; 2,000 tell .004 from .065."""


@dataclass(frozen=True, slots=True)
class Forgetting:
    """The paired change of the probe's loss from version `before` to `now`.

    `lower` and `upper` are each a one-sided bound at the level this version may spend, so that
    the bounds of all versions hold together. WATCH: more than the
    margin by the estimate; DRIFT: by the bound too.
    """

    before: str
    now: str
    rows: int
    state: State
    words: str
    change: float = float("nan")
    lower: float = float("nan")
    loss_before: float = float("nan")
    alpha: float = float("nan")
    upper: float = float("nan")


def share_of_alpha(version: int, alpha: float = ALPHA) -> float:
    """What the v-th version after the first may spend, v from 1."""
    return alpha * 6 / (math.pi * version) ** 2


def probe_change(
    before: str,
    score_before: FloatArray,
    now: str,
    score_now: FloatArray,
    label: FloatArray,
    *,
    task: Task,
    version: int,
) -> Forgetting:
    """Scores (n,) of two versions on the same probe rows; `version` counts from 1."""
    from scipy.stats import t

    kept = np.isfinite(score_before) & np.isfinite(score_now) & np.isfinite(label)
    n = int(kept.sum())
    if n < FEWEST:
        words = f"{n} probe rows scored by both versions; {FEWEST} are needed, {ENOUGH:,} are good"
        return Forgetting(before, now, n, State.UNDETERMINED, words)
    was = loss_of(task, score_before[kept], label[kept])
    paired = loss_of(task, score_now[kept], label[kept]) - was
    alpha = share_of_alpha(version)
    change, base = float(paired.mean()), float(was.mean())
    error = float(paired.std(ddof=1)) / math.sqrt(n)
    reach = float(t.ppf(1 - alpha, n - 1)) * error
    lower, upper = change - reach, change + reach
    margin = MARGIN * base
    told = f"loss on the source probe {base:.4g} → {base + change:.4g} ({n:,} rows)"
    if lower > margin:
        state, words = State.DRIFT, f"{told}: version {now} has forgotten what {before} knew"
    elif change > margin:
        state, words = State.WATCH, f"{told}: perhaps forgetting; {ENOUGH:,} rows would say"
    elif upper < margin:
        state, words = State.OK, f"{told}: nothing forgotten"
    else:
        state, words = State.UNDETERMINED, f"{told}: too few rows to tell"
    return Forgetting(before, now, n, state, words, change, lower, base, alpha, upper)
