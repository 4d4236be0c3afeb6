"""Helps, neutral, hurts or undetermined: the transfer verdict of a deployment, in words.

The word comes from the planned-review test where a review date is set and from the tick-t
interval where monitoring is open-ended; the interval shown is always the tick-t one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detectors.records import (
    DAY_US,
    Design,
    FloatArray,
    IntArray,
    Settings,
    Task,
    TransferState,
    TransferVerdict,
    to_datetime,
)
from detectors.transfer.betting import log_capital_of_counts
from detectors.transfer.dependence import long_run_factors
from detectors.transfer.designs import caveat_of, loss_name
from detectors.transfer.interval import Interval, tick_t_path
from detectors.transfer.merging import Merged, base_spacing, merge_ticks
from detectors.transfer.power import minimum_detectable
from detectors.transfer.review import robust_mean
from detectors.transfer.schedule import review_word
from detectors.transfer.sums import TransferSums
from detectors.transfer.wording import words_for

NEUTRAL_SHARE = 0.05
"""Neutral is an interval inside ±5 % of the baseline's loss. The interval of 10,000 rows is
about ±3 % wide, so a narrower band would never be reached."""

ROWS_FACTOR = 8.4
"""Rows to a decision are about 8.4 / s², s being the gap to the margin in row sd."""

FEWEST_TICKS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """The transfer difference over time; arrays (T,), one entry for each closed tick.

    `ts_us` is the end of the tick. Bounds are infinite while too little is known.
    """

    ts_us: IntArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    baseline_loss: FloatArray
    ticks: IntArray

    def last(self) -> Interval:
        if not len(self.mean):
            return Interval(None, None, None, 0)
        known = bool(np.isfinite(self.lower[-1]))
        return Interval(
            float(self.mean[-1]),
            float(self.lower[-1]) if known else None,
            float(self.upper[-1]) if known else None,
            int(self.ticks[-1]),
        )


def trajectory(
    sums: TransferSums,
    *,
    task: Task = Task.REGRESSION,
    alpha: float = Settings().alpha,
    minority_rate: float | None = None,
    ended: bool = False,
) -> Trajectory:
    """Mean difference and tick-t interval after every closed tick, as it stood at that time.

    `alpha` is per side. A task other than regression also waits for labels of the rarer
    class. Where ticks were doubled midway, later entries are recomputed from the first row.
    """
    return _trajectory(
        merge_ticks(sums, task=task, minority_rate=minority_rate, ended=ended), sums, alpha
    )


def _trajectory(merged: Merged, sums: TransferSums, alpha: float) -> Trajectory:
    closed = merged.sums
    count = len(closed.rows)
    if not count:
        none = np.empty(0)
        return Trajectory(np.empty(0, np.int64), none, none, none, none, np.empty(0, np.int64))
    mean, lower, upper = np.empty(count), np.empty(count), np.empty(count)
    ticks = np.arange(1, count + 1) // merged.factor
    for factor in np.unique(merged.factor):
        run = merged.doubled(int(factor))
        means = run.difference / run.rows
        path = tick_t_path(means, run.rows, alpha=alpha, factors=long_run_factors(means))
        at = merged.factor == factor
        index = ticks[at] - 1
        mean[at], lower[at], upper[at] = path.mean[index], path.lower[index], path.upper[index]
    last_end = sums.start_us[-1] + base_spacing(sums.start_us)
    return Trajectory(
        np.append(closed.start_us[1:], last_end),
        mean,
        lower,
        upper,
        np.cumsum(closed.baseline_loss) / np.cumsum(closed.rows),
        ticks,
    )


def word_of(
    lower: float | None, upper: float | None, baseline_loss: float, margin: float
) -> TransferState:
    """What an interval for the difference says; `margin` is absolute."""
    if lower is None or upper is None:
        return TransferState.UNDETERMINED
    if lower > margin:
        return TransferState.HURTS
    if upper < -margin:
        return TransferState.HELPS
    if -NEUTRAL_SHARE * baseline_loss <= lower and upper <= NEUTRAL_SHARE * baseline_loss:
        return TransferState.NEUTRAL
    return TransferState.UNDETERMINED


def transfer_verdict(
    sums: TransferSums | None,
    *,
    task: Task,
    settings: Settings,
    ended: bool,
    minority_rate: float | None = None,
    alpha: float | None = None,
    scope: str = "",
) -> TransferVerdict:
    """The verdict on all cohorts that have entered evidence, in event order.

    `sums` None means that no baseline is recorded. `minority_rate` is the share of the rarer
    class in the reference. `alpha` is per side of the interval, `settings.alpha` unless given.
    `ended` says that no later cohort will come: the end of a replayed log is its last review.
    With ticks of rows instead of time (`settings.tick_rows`) a tick stands for a day.
    """
    design = settings.baseline.design or Design.SHADOW
    if sums is None:
        return not_monitored(task)
    sums = sums.filled()
    if not len(sums.rows):
        return empty_verdict(task, settings, scope)
    if settings.tick_rows is not None:
        sums, settings = _rows_as_days(sums, settings, ended)
    merged = merge_ticks(sums, task=task, minority_rate=minority_rate, ended=ended)
    path = _trajectory(merged, sums, settings.alpha if alpha is None else alpha)
    shown = path.last()
    rows = float(sums.rows.sum())
    baseline_loss = float(sums.baseline_loss.sum()) / rows
    margin = settings.margin * baseline_loss
    state = word_of(shown.lower, shown.upper, baseline_loss, margin)
    decided_us = _first_said(path, state, settings.margin)
    method, so_far, bound = "tick-t", False, None
    review = review_word(sums, task=task, settings=settings, ended=ended)
    if review is not None:
        method, so_far = "planned review", review.so_far
        if review.state is not TransferState.UNDETERMINED:
            state, decided_us, bound = review.state, review.decided_us, review.bound
        elif state is not TransferState.NEUTRAL:
            state, decided_us = TransferState.UNDETERMINED, None
    if design is Design.INTERLEAVED:
        method, so_far, bound = "betting", False, None
        word, bet_us = bet_word(sums, settings)
        if word is not TransferState.UNDETERMINED or state is not TransferState.NEUTRAL:
            state, decided_us = word, bet_us
    difference = float(sums.difference.sum()) / rows if shown.lower is None else shown.mean
    se = standard_error(sums, merged)
    reach = shown.half_width
    if review is not None and review.reach is not None:
        se, reach = review.se, review.reach
    needed = None
    if state is TransferState.UNDETERMINED:
        needed = rows_needed(sums, merged, shown, margin=margin, baseline_loss=baseline_loss)
    verdict = TransferVerdict(
        state=state,
        loss=loss_name(task, design, settings),
        difference=difference,
        ci=(shown.lower, shown.upper),
        rows=round(rows),
        margin=margin,
        rows_needed=needed,
        method=method,
        so_far=so_far,
        decided_at=None
        if decided_us is None or settings.tick_rows is not None
        else to_datetime(decided_us),
        baseline_loss=baseline_loss,
        bound=bound,
        se=se,
        minimum_detectable=None
        if se is None or reach is None
        else minimum_detectable(reach=reach, se=se, margin=margin),
        design=design,
        caveat=caveat_of(task, design),
    )
    return replace(verdict, words=words_for(verdict, scope=scope, note=_note(verdict, merged)))


def bet_word(sums: TransferSums, settings: Settings) -> tuple[TransferState, int | None]:
    """What betting on the sign of the credits says now, and the end of the tick it first did.

    A credit is +1 for the transferred model, so wins and losses follow from Σd and Σd².
    """
    lost = 0.5 * (sums.difference2 + sums.difference)
    won = 0.5 * (sums.difference2 - sums.difference)
    ties = sums.rows - won - lost
    limit = np.log(1.0 / settings.alpha)
    ends = np.append(sums.start_us[1:], sums.start_us[-1] + base_spacing(sums.start_us))
    for state, ours, theirs in (
        (TransferState.HURTS, lost, won),
        (TransferState.HELPS, won, lost),
    ):
        capital = log_capital_of_counts(ours, theirs, ties, margin=settings.margin)
        over = np.flatnonzero(capital >= limit)
        if over.size:
            return state, int(ends[over[0]])
    return TransferState.UNDETERMINED, None


def standard_error(sums: TransferSums, merged: Merged) -> float | None:
    """Of the mean difference: from ticks where there are enough, else from rows alone."""
    rows = float(sums.rows.sum())
    run = merged.doubled(int(merged.factor[-1])) if len(merged.factor) else sums
    if len(run.rows) >= FEWEST_TICKS:
        return robust_mean(run.difference, run.rows)[1]
    if rows < 2.0:
        return None
    mean = float(sums.difference.sum()) / rows
    variance = max(float(sums.difference2.sum()) / rows - mean**2, 0.0)
    return float(np.sqrt(variance / rows))


def not_monitored(task: Task, design: Design = Design.SHADOW) -> TransferVerdict:
    verdict = TransferVerdict(
        TransferState.NOT_MONITORED, loss_name(task, design), None, (None, None), 0, None
    )
    return replace(verdict, words=words_for(verdict))


def empty_verdict(task: Task, settings: Settings, scope: str = "") -> TransferVerdict:
    """Baseline scores exist, labelled rows do not."""
    verdict = TransferVerdict(
        TransferState.UNDETERMINED,
        loss_name(task, settings.baseline.design or Design.SHADOW, settings),
        None,
        (None, None),
        0,
        None,
        method="tick-t" if settings.review_us is None else "planned review",
        so_far=settings.review_us is not None,
        design=settings.baseline.design or Design.SHADOW,
        caveat=caveat_of(task, settings.baseline.design or Design.SHADOW),
    )
    return replace(verdict, words=words_for(verdict, scope=scope))


def _rows_as_days(
    sums: TransferSums, settings: Settings, ended: bool
) -> tuple[TransferSums, Settings]:
    """Ticks of rows have no calendar: each counts as a day, and only an ended log has a plan."""
    count = len(sums.rows)
    review = count * DAY_US if ended and settings.review_us is not None else None
    days = replace(sums, start_us=np.arange(count, dtype=np.int64) * DAY_US)
    return days, replace(settings, review_us=review)


def _first_said(path: Trajectory, state: TransferState, margin_share: float) -> int | None:
    """End of the first tick after which the interval said `state`."""
    margin = margin_share * path.baseline_loss
    band = NEUTRAL_SHARE * path.baseline_loss
    hurts, helps = path.lower > margin, path.upper < -margin
    if state is TransferState.HURTS:
        said = hurts
    elif state is TransferState.HELPS:
        said = helps
    elif state is TransferState.NEUTRAL:
        said = (path.lower >= -band) & (path.upper <= band) & ~hurts & ~helps
    else:
        return None
    at = np.flatnonzero(said)
    return int(path.ts_us[at[0]]) if at.size else None


def rows_needed(
    sums: TransferSums,
    merged: Merged,
    shown: Interval,
    *,
    margin: float,
    baseline_loss: float,
) -> int | None:
    """About how many more rows would decide, if the difference stays what it is.

    The gap is the wider of the ways out: beyond the margin, or inside the neutral band. The row
    sd is taken from tick means where these vary more than their rows explain.
    """
    rows = float(sums.rows.sum())
    mean = float(sums.difference.sum()) / rows
    gap = max(abs(mean) - margin, NEUTRAL_SHARE * baseline_loss - abs(mean))
    if gap <= 0.0:
        return None
    variance = max(float(sums.difference2.sum()) / rows - mean**2, 0.0)
    factor = int(merged.factor[-1]) if len(merged.factor) else 1
    run = merged.doubled(factor)
    ticks = len(run.rows)
    if ticks >= FEWEST_TICKS:
        spread = run.difference - mean * run.rows
        variance = max(variance, float(np.sum(spread**2) / run.rows.sum()))
    tick_rows = float(run.rows.mean()) if ticks else rows
    total = max(ROWS_FACTOR * variance / gap**2, FEWEST_TICKS * tick_rows)
    half = shown.half_width
    if total <= rows and half is not None:
        total = rows * (half / gap) ** 2
    return max(int(np.ceil(total - rows)), int(np.ceil(tick_rows)), 1)


def _note(verdict: TransferVerdict, merged: Merged) -> str:
    decided = verdict.state in (TransferState.HELPS, TransferState.HURTS)
    if decided and len(merged.factor) and merged.factor[-1] > 1 and len(merged.factor) < 60:
        return "days are dependent and few, so a wrong word is about twice as likely as stated"
    return ""
