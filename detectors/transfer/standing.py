"""Whether a baseline is fit to compare with: its age, its rows, and whether it still learns.

A transferred model that beats an old baseline, or one trained on a handful of rows, has been shown
to beat nothing. So a stale or starved baseline leaves the verdict undetermined, with the reason;
what its interval would have said is kept in the words, so that no harm is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import numpy as np

from detectors.records import (
    DAY_US,
    BaselinePlan,
    BoolArray,
    IntArray,
    TransferState,
    TransferVerdict,
    Window,
    to_datetime,
)
from detectors.transfer.learning_curve import CurvePoint, LearningCurve, learning_curve

DECIDED = frozenset({TransferState.HELPS, TransferState.HURTS, TransferState.NEUTRAL})


class Fitness(StrEnum):
    """What can be said of a baseline before it is compared with."""

    FIT = "fit"
    STALE = "stale"
    STARVED = "starved"
    LEARNING = "still learning"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BaselineFacts:
    """What is on record of one version of a baseline. A span of None: its times are not known.

    `since_us` and `until_us` are the first and the last event it was trained on. `scores_from_us`
    is the first event it scores, None for all.
    """

    version: int
    source: str
    rows: int
    since_us: int | None
    until_us: int | None
    scores_from_us: int | None = None
    curve: tuple[CurvePoint, ...] = ()

    def age_us(self, now_us: int) -> int | None:
        """Event time since its last training row."""
        return None if self.until_us is None else max(0, now_us - self.until_us)


@dataclass(frozen=True, slots=True)
class Standing:
    """A baseline's fitness and the sentence that says so."""

    fitness: Fitness
    words: str
    curve: LearningCurve | None = None

    @property
    def decides(self) -> bool:
        """Whether a verdict against this baseline may be a word."""
        return self.fitness in {Fitness.FIT, Fitness.UNKNOWN}


UNRECORDED = Standing(Fitness.UNKNOWN, "nothing is on record of what the baseline was trained on")


def standing_of(
    facts: BaselineFacts | None, verdict: TransferVerdict, plan: BaselinePlan, now_us: int
) -> Standing:
    """Judge a baseline at an instant of event time; nothing on record is no reason to doubt it."""
    if facts is None:
        return UNRECORDED
    curve = learning_curve(facts.curve)
    said = facts_words(facts, now_us)
    age = facts.age_us(now_us)
    if age is not None and age > plan.max_age_us:
        limit = plan.max_age_us // DAY_US
        return Standing(Fitness.STALE, f"{said}: stale, the limit is {limit:,} d", curve)
    if facts.rows < plan.least_rows:
        return Standing(
            Fitness.STARVED, f"{said}: starved, {plan.least_rows:,} rows would do", curve
        )
    if curve is not None and _would_turn(curve, verdict):
        return Standing(
            Fitness.LEARNING,
            f"{said}: still learning, twice the rows would lower its loss by about "
            f"{100 * curve.gain:.1f} %, which is more than the transferred model is ahead",
            curve,
        )
    return Standing(Fitness.FIT, said, curve)


def _would_turn(curve: LearningCurve, verdict: TransferVerdict) -> bool:
    """Whether doubling the baseline's rows would take a benefit away; harm it could only add to."""
    if verdict.state not in {TransferState.HELPS, TransferState.NEUTRAL}:
        return False
    if curve.gain_ci[0] <= 0.0 or verdict.difference is None or not verdict.baseline_loss:
        return False
    margin = (verdict.margin or 0.0) / verdict.baseline_loss
    ahead = -verdict.difference / verdict.baseline_loss
    return curve.gain > margin and ahead - curve.gain < margin


def facts_words(facts: BaselineFacts, now_us: int) -> str:
    """As in: baseline 3, trained on 41,000 rows until 1 May 2026, 40 d old."""
    said = f"baseline {facts.version}, trained on {facts.rows:,} rows"
    if facts.until_us is None:
        return f"{said}, at times that are not on record"
    age = facts.age_us(now_us) or 0
    return f"{said} until {day_words(to_datetime(facts.until_us))}, {age / DAY_US:.0f} d old"


def day_words(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


def downgraded(verdict: TransferVerdict, standing: Standing) -> TransferVerdict:
    """The verdict as it may be said against this baseline."""
    if verdict.state not in DECIDED or standing.decides:
        return verdict
    words = (
        f"undetermined: {standing.words}; against it the rows alone would say "
        f"{verdict.state.value}, {verdict.words.partition(': ')[2]}"
    )
    slices = tuple((name, downgraded(part, standing)) for name, part in verdict.slices)
    return replace(
        verdict,
        state=TransferState.UNDETERMINED,
        decided_at=None,
        words=words,
        slices=slices,
        rows_alone=verdict.state,
    )


def trained_on(ts_us: IntArray, versions: Sequence[BaselineFacts]) -> BoolArray:
    """Which rows (n,) the baseline version that scored them was trained on.

    Each row belongs to the newest version that scores from its time or before, so a change of
    version in the middle of a tick is judged row by row.
    """
    leaks = np.zeros(len(ts_us), dtype=np.bool_)
    if not versions:
        return leaks
    ordered = sorted(versions, key=lambda f: (f.scores_from_us or -(2**62), f.version))
    starts = np.array([f.scores_from_us or -(2**62) for f in ordered], dtype=np.int64)
    owner = np.searchsorted(starts, ts_us, side="right") - 1
    for place, facts in enumerate(ordered):
        if facts.since_us is not None and facts.until_us is not None:
            inside = (ts_us >= facts.since_us) & (ts_us <= facts.until_us)
            leaks |= inside & (owner == place)
    return leaks


def without_leaks(
    window: Window, versions: Sequence[BaselineFacts], columns: Sequence[str] = ()
) -> tuple[Window, int]:
    """The rows without what the baseline says of those it was trained on, and how many these are.

    That is its score, and its class probabilities where `columns` names those.
    """
    there = [name for name in columns if name in window.numeric]
    if not versions or window.ts_us is None or (window.baseline_score is None and not there):
        return window, 0
    said = [window.numeric[name] for name in there]
    said += [] if window.baseline_score is None else [window.baseline_score]
    leaks = trained_on(window.ts_us, versions) & np.isfinite(said).any(axis=0)
    if not leaks.any():
        return window, 0
    kept = {name: np.where(leaks, np.nan, window.numeric[name]) for name in there}
    score = window.baseline_score
    fair = replace(
        window,
        baseline_score=None if score is None else np.where(leaks, np.nan, score),
        numeric={**window.numeric, **kept},
    )
    return fair, int(leaks.sum())
