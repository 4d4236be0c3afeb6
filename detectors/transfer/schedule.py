"""When the planned-review test looks: about 26 times until each review, on whole cohort days."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detectors.records import DAY_US, FloatArray, IntArray, Settings, Task, TransferState
from detectors.transfer.merging import base_spacing
from detectors.transfer.review import FEWEST_TICKS, Review, planned_review
from detectors.transfer.sums import TransferSums

LOOKS = 26


@dataclass(frozen=True, slots=True)
class ReviewWord:
    """The word that stands now, whether it is provisional, and when it was first said.

    `se` and `reach` are of the last look: the mean's error, and how far beyond the margin it had
    to lie.
    """

    state: TransferState
    so_far: bool
    decided_us: int | None
    bound: float | None = None
    se: float | None = None
    reach: float | None = None


def review_word(
    sums: TransferSums, *, task: Task, settings: Settings, ended: bool
) -> ReviewWord | None:
    """The word of the last review held, or the early word of the period that is running.

    Reviews follow each other every `settings.review_us` from the first cohort, each on its own
    rows; when the log has `ended`, its end is the last review. A word that a later review
    confirms keeps its first date. None where no review is planned or the plan is shorter than
    the 12 days a look needs.
    """
    if settings.review_us is None or settings.review_us < FEWEST_TICKS * DAY_US:
        return None
    sums = sums.filled()
    day = sums.start_us // DAY_US
    if not len(day):
        return ReviewWord(TransferState.UNDETERMINED, so_far=not ended, decided_us=None)
    first = int(day[0])
    if not ended and int(sums.start_us[-1]) + base_spacing(sums.start_us) < (day[-1] + 1) * DAY_US:
        sums = sums.take(day < day[-1])  # the last day is still filling
        day = day[day < day[-1]]
    days = sums.grouped(np.flatnonzero(np.diff(day, prepend=-1)))
    # the end of each day, in days from the start
    number = (days.start_us // DAY_US - first + 1).astype(np.float64)
    planned = settings.review_us / DAY_US
    spacing = max(1.0, planned / LOOKS)
    period = np.maximum(np.ceil(number / planned - 1e-9) - 1.0, 0.0).astype(np.int64)
    if ended and len(period) and period[-1] > 0:
        begun = float(number[-1]) - period[-1] * planned
        if begun <= spacing:  # a log that ends just past its review was meant to end with it
            period[period == period[-1]] -= 1
    standing = ReviewWord(TransferState.UNDETERMINED, so_far=not ended, decided_us=None)
    latest = int(period[-1]) if len(period) else 0
    seen: tuple[float | None, float | None] = (None, None)
    for index in np.unique(period):
        inside = np.flatnonzero(period == index)
        closed = ended or index < latest
        begin = index * planned
        review, at = _run(
            days.take(inside),
            number[inside] - begin,
            planned=planned,
            spacing=spacing,
            closed=closed,
            task=task,
            settings=settings,
        )
        if review.looks:
            seen = review.looks[-1].se, review.looks[-1].reach
        decided_us = None
        if review.state is standing.state:
            decided_us = standing.decided_us
        elif review.decided is not None:
            decided_us = (first + int(begin + at[review.decided] + 1e-9)) * DAY_US
        held = not review.so_far and bool(review.looks)
        if held or review.state is not TransferState.UNDETERMINED:
            crossed = [look for look in review.looks if look.crossed is review.state]
            bound = crossed[-1].bound_of(review.state) if crossed else None
            standing = ReviewWord(review.state, so_far=not held, decided_us=decided_us, bound=bound)
    return replace(standing, se=seen[0], reach=seen[1])


def _run(
    days: TransferSums,
    ends: FloatArray,
    *,
    planned: float,
    spacing: float,
    closed: bool,
    task: Task,
    settings: Settings,
) -> tuple[Review, FloatArray]:
    """One period's review; also the time of each look taken, in days from the period's start."""
    count = max(1, int(planned / spacing + 1e-9))
    times: FloatArray = spacing * np.arange(1.0, count + 1.0)
    times[-1] = planned
    now = float(ends[-1])
    times = times[times <= now + 1e-9]
    elapsed: FloatArray = times / planned
    look_ticks: IntArray = np.searchsorted(ends, times + 1e-9, side="right").astype(np.int64)
    if closed and (not len(elapsed) or elapsed[-1] < 1.0):
        # the period is over whatever its last days held: its last look is the review
        times = np.append(times, now)
        elapsed = np.append(elapsed, 1.0)
        look_ticks = np.append(look_ticks, len(ends))
    elif closed:
        look_ticks[-1] = len(ends)
    rows = np.cumsum(days.rows)
    seen = np.maximum(look_ticks - 1, 0)
    margin = settings.margin * np.cumsum(days.baseline_loss)[seen] / rows[seen]
    review = planned_review(
        days.difference,
        days.rows,
        look_ticks,
        elapsed,
        margin=margin,
        alpha=settings.alpha,
        minority=None if task is Task.REGRESSION else days.minority,
    )
    at = np.array([times[np.searchsorted(elapsed, look.elapsed)] for look in review.looks])
    return review, at
