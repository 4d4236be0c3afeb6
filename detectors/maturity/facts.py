"""Two numbers of a tick's labels that evidence on the loss cannot do without.

*Delay*: the Kolmogorov-Smirnov distance between how soon labels came and how soon they came in
the reference. If that moves, labelled rows are no longer the usual ones. *Gap*: realised loss less
what the recalibrated scores expected; it moves where the rule behind the labels does, which no
label-free estimate can see.

Both are sums over rows, so ticks merge. y is the distance less its mean under the reference, or
the mean gap; v the variance that sampling alone gives it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detectors.records import FloatArray, IntArray, StreamSpec, Task, Tier, Window
from detectors.records import Stream as Followed
from detectors.sums import R_FLOOR, Curve
from detectors.transfer.loss import CLIP

STEPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
FEWEST_REFERENCE = 200
DELAY_STEP = 0.1
"""A distance that matters: one label in ten comes at another time."""
GAP_STEP = 0.02
"""A gap that matters, as a share of the reference's mean loss: as for the loss itself."""
DRAWS = 4_000
LEAST_SD = 0.05
DELAY, GAP = "labels.delay", "estimate.gap"


@dataclass(frozen=True, slots=True)
class DelayRuler:
    """Ages (m,) in microseconds and the share of reference rows labelled by each.

    `mean` and `sd` are those of √n times the distance when nothing has changed.
    """

    ages_us: tuple[int, ...]
    shares: tuple[float, ...]
    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """Sums over the rows of a tick: Σω and Σω² of all, Σω labelled by each age, and the gap's."""

    weight: float = 0.0
    weight2: float = 0.0
    by_age: tuple[float, ...] = ()
    judged: float = 0.0
    gap: float = 0.0
    gap_variance: float = 0.0

    def plus(self, other: LabelFacts) -> LabelFacts:
        """Both together."""
        ages = self.by_age or (0.0,) * len(other.by_age)
        more = other.by_age or (0.0,) * len(ages)
        return LabelFacts(
            self.weight + other.weight,
            self.weight2 + other.weight2,
            tuple(a + b for a, b in zip(ages, more, strict=True)),
            self.judged + other.judged,
            self.gap + other.gap,
            self.gap_variance + other.gap_variance,
        )


def fit_delay_ruler(reference: Window, *, label_delay_us: int) -> DelayRuler | None:
    """Ages up to the label delay, at deciles of the reference's delays; None without 200 of them.

    An event is judged one label delay after it, so nothing older is known of live rows.
    """
    if reference.ts_us is None or reference.label is None or reference.label_ts_us is None:
        return None
    known = ~np.isnan(reference.label) & (reference.label_ts_us < np.iinfo(np.int64).max)
    if int(known.sum()) < FEWEST_REFERENCE:
        return None
    delay = np.maximum(reference.label_ts_us - reference.ts_us, 0)
    ages = np.unique(np.quantile(delay[known], STEPS, method="higher").astype(np.int64))
    ages = ages[ages <= label_delay_us]
    if not len(ages):
        return None
    weight = reference.weights()
    shares = _by_age(delay, known, weight, ages) / float(weight.sum())
    mean, sd = _null_distance(shares)
    return DelayRuler(tuple(ages.tolist()), tuple(shares.tolist()), mean, max(sd, LEAST_SD))


def label_facts(
    window: Window, ruler: DelayRuler | None, curve: Curve | None, task: Task
) -> LabelFacts:
    """The sums of a piece of a tick's rows, labels as known when the tick is judged."""
    weight = window.weights()
    facts = LabelFacts(float(weight.sum()), float(weight @ weight))
    if window.label is None or not window.rows:
        if ruler is not None:
            facts = replace(facts, by_age=(0.0,) * len(ruler.ages_us))
        return facts
    known = ~np.isnan(window.label)
    if ruler is not None and window.ts_us is not None:
        by_age = np.zeros(len(ruler.ages_us), np.float64)
        if window.label_ts_us is not None:
            delay = np.maximum(window.label_ts_us - window.ts_us, 0)
            by_age = _by_age(delay, known, weight, np.array(ruler.ages_us))
        facts = replace(facts, by_age=tuple(by_age.tolist()))
    if task is Task.REGRESSION or window.score is None:
        return facts
    judged = known & np.isfinite(window.score)
    score, label, mass = window.score[judged], window.label[judged], weight[judged]
    expected = np.clip(score if curve is None else curve.apply(score), R_FLOOR, 1.0 - R_FLOOR)
    served = np.clip(score, CLIP, 1.0 - CLIP)
    # Log loss less its expectation is linear in the outcome: (y - r) times minus the log odds.
    slope = np.log1p(-served) - np.log(served)
    return replace(
        facts,
        judged=float(mass.sum()),
        gap=float(mass @ (slope * (label - expected))),
        gap_variance=float(mass**2 @ (slope**2 * expected * (1.0 - expected))),
    )


def delay_statistic(facts: LabelFacts, ruler: DelayRuler) -> tuple[float, float]:
    """Y and v of the delay; v = inf without rows."""
    if not facts.weight > 0.0 or not facts.by_age:
        return 0.0, np.inf
    rows = facts.weight**2 / facts.weight2
    shares = np.array(facts.by_age) / facts.weight
    distance = float(np.abs(shares - np.array(ruler.shares)).max())
    return distance - ruler.mean / float(np.sqrt(rows)), ruler.sd**2 / rows


def gap_statistic(facts: LabelFacts) -> tuple[float, float]:
    """Y and v of realised less expected loss; v = inf without labelled rows."""
    if not facts.judged > 0.0 or not facts.gap_variance > 0.0:
        return 0.0, np.inf
    return facts.gap / facts.judged, facts.gap_variance / facts.judged**2


def label_watch_specs(
    ruler: DelayRuler | None, *, task: Task, mean_loss: float | None, share: float
) -> tuple[StreamSpec, ...]:
    """The streams that can be followed, each on the ticket tier with an equal part of a share."""
    found = []
    if ruler is not None:
        found.append((Followed("labels", "delay", Tier.TICKET), DELAY_STEP))
    if task is not Task.REGRESSION and mean_loss is not None and mean_loss > 0.0:
        found.append((Followed("estimate", "gap", Tier.TICKET), GAP_STEP * mean_loss))
    return tuple(StreamSpec(stream, share / len(found), step) for stream, step in found)


def _by_age(delay: IntArray, known: np.ndarray, weight: FloatArray, ages: IntArray) -> FloatArray:
    """Σω (m,) of the rows labelled by each age."""
    place = np.searchsorted(ages, delay[known], side="left")
    counts = np.bincount(place, weights=weight[known], minlength=len(ages) + 1)
    return np.asarray(np.cumsum(counts)[: len(ages)], dtype=np.float64)


def _null_distance(shares: FloatArray) -> tuple[float, float]:
    """Mean and sd of √n max |F_n - F| at ages with these shares, by simulation of its limit.

    The limit is a Brownian bridge of the shares (Donsker); the seed is fixed.
    """
    covariance = np.minimum.outer(shares, shares) - np.multiply.outer(shares, shares)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = np.random.default_rng(0).normal(size=(DRAWS, len(shares))) @ root.T
    largest = np.abs(drawn).max(axis=1)
    return float(largest.mean()), float(largest.std())
