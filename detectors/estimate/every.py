"""Every label-free estimate of one window, and whether they contradict each other.

None of them sees a changed rule behind the labels, so none may page. What they can do: bridge the
label delay, and disagree. Black-box shift believes that P(x | y) has held, confidence-based
estimation that P(y | x) has; where their label rates differ by more than both intervals, neither
is a pure shift and only labels can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.calibration.rows import JudgedRows, effective_rows, judged_rows
from detectors.estimate.atc import atc_accuracy, atc_threshold
from detectors.estimate.bbse import (
    bbse_weights,
    class_priors,
    joint_confusion,
    said_shares,
    shifted_accuracy,
)
from detectors.estimate.cbpe import estimate_performance, scored_rows
from detectors.estimate.class_mix import estimate_class_mix
from detectors.estimate.dle import estimate_loss
from detectors.estimate.doc import doc_accuracy
from detectors.estimate.mcbpe import current_likeness, estimate_where_rows_are
from detectors.estimate.realised import CUT, realised_performance
from detectors.estimate.records import (
    BLINDNESS,
    Blindness,
    Estimate,
    day_blocks,
    interval,
    resampled_rows,
)
from detectors.estimate.rlls import is_nearly_singular, rlls_weights
from detectors.records import FloatArray, Schema, Task, Window

FEWEST_ROWS = 50
REPLICATES = 200
MOSTLY_LABELLED = 0.5
LEARNERS_FROM = 1_000
"""M-CBPE and DLE grow trees: only where labels are missing for most of so many rows."""
MOST_ROWS = 6_000
RATE = "label_rate"
Values = Callable[[FloatArray, FloatArray], list[float]]


@dataclass(frozen=True, slots=True)
class Estimates:
    """`main` are the CBPE metrics that reports lead with, `others` the rest.

    `contradiction` says that label rates disagree, "" where they do not; `blindness` has a row
    for every method in use.
    """

    main: tuple[Estimate, ...]
    others: tuple[Estimate, ...]
    contradiction: str
    blindness: tuple[Blindness, ...]


def every_estimate(
    reference: Window,
    current: Window,
    schema: Schema,
    *,
    seed: int = 0,
    gaps: FloatArray | None = None,
) -> Estimates:
    """All estimates that the two windows allow.

    `gaps` (c,) are |estimate - realised| of mean loss in cohorts whose labels have come: their
    .9 quantile widens the interval of the loss, as split conformal prediction would.
    """
    task = schema.task
    main = _widened(estimate_performance(reference, current, task=task, seed=seed), gaps)
    others: list[Estimate] = list(_cheap(reference, current, task, seed))
    past, now = _sampled(reference, seed), _sampled(current, seed)
    if task is Task.MULTICLASS:
        others += estimate_class_mix(past, now, seed=seed)
    if _worth_learning(past, now):
        likeness = current_likeness(past, now, schema, seed=seed)
        others += estimate_where_rows_are(past, now, task=task, likeness=likeness, seed=seed)
        others += estimate_loss(past, now, schema, seed=seed)
    realised = realised_performance(current, task)
    told = [replace(one, realised=realised.get(one.metric)) for one in others]
    methods = dict.fromkeys(one.method for one in (*main, *told))
    return Estimates(
        main=main,
        others=tuple(told),
        contradiction=contradiction((*main, *told)),
        blindness=tuple(BLINDNESS[method] for method in methods),
    )


def contradiction(estimates: Sequence[Estimate]) -> str:
    """Words where the label rate of black-box shift and of confidence differ beyond both CIs.

    M-CBPE speaks for confidence where it can, else CBPE.
    """
    rates = {one.method: one for one in estimates if one.metric == RATE and one.value is not None}
    shift = rates.get("BBSE") or rates.get("RLLS")
    confident = rates.get("M-CBPE") or rates.get("CBPE")
    if shift is None or confident is None:
        return ""
    low, high = _half_width(shift), _half_width(confident)
    assert shift.value is not None
    assert confident.value is not None
    gap = shift.value - confident.value
    if low is None or high is None or abs(gap) <= float(np.hypot(low, high)):
        return ""
    return (
        f"the label rate is {shift.value:.3f} if P(x | y) has held ({shift.method}) and "
        f"{confident.value:.3f} if P(y | x) has ({confident.method}): neither did; concept or "
        "schema suspected, get labels"
    )


def _half_width(estimate: Estimate) -> float | None:
    lower, upper = estimate.ci
    return None if lower is None or upper is None else 0.5 * (upper - lower)


def _widened(main: tuple[Estimate, ...], gaps: FloatArray | None) -> tuple[Estimate, ...]:
    known = np.empty(0) if gaps is None else np.abs(gaps[np.isfinite(gaps)])
    if len(known) < 10:
        return main
    # The split conformal quantile: the ceil(.9 (n + 1))-th smallest of n.
    place = min(int(np.ceil(0.9 * (len(known) + 1))), len(known)) - 1
    more = float(np.sort(known)[place])
    out = []
    for one in main:
        lower, upper = one.ci
        if one.metric == "log_loss" and lower is not None and upper is not None:
            words = f"{one.words}; past estimates were off by up to {more:.3f} nine times in ten"
            one = replace(one, ci=(max(lower - more, 0.0), upper + more), words=words)
        out.append(one)
    return tuple(out)


def _worth_learning(reference: Window, current: Window) -> bool:
    if current.score is None or reference.label is None:
        return False
    if min(reference.rows, current.rows) < LEARNERS_FROM:
        return False
    known = 0.0 if current.label is None else float(np.isfinite(current.label).mean())
    return known < MOSTLY_LABELLED


def _sampled(window: Window, seed: int) -> Window:
    if window.rows <= MOST_ROWS:
        return window
    chosen = np.random.default_rng(seed).choice(window.rows, MOST_ROWS, replace=False)
    return window.take(np.sort(chosen))


def _cheap(reference: Window, current: Window, task: Task, seed: int) -> list[Estimate]:
    """ATC, DoC and, for a binary task, BBSE or RLLS: they need no learner."""
    if task is Task.REGRESSION or current.score is None:
        return []
    base, now = judged_rows(reference, task=task), scored_rows(current)
    if base is None or min(len(base), len(now)) < FEWEST_ROWS:
        return []
    said = (base.score >= CUT).astype(np.float64)
    said_now = (now.score >= CUT).astype(np.float64)
    binary = task is Task.BINARY
    confidence = np.maximum(base.score, 1.0 - base.score) if binary else base.score
    confident_now = np.maximum(now.score, 1.0 - now.score) if binary else now.score
    right = (said == base.label).astype(np.float64) if binary else base.label
    singular = binary and is_nearly_singular(joint_confusion(said, base.label, base.weight))

    def values(past: FloatArray, live: FloatArray) -> list[float]:
        threshold = atc_threshold(confidence, right, past)
        found = [
            atc_accuracy(threshold, confident_now, live),
            doc_accuracy(confidence, right, past, confident_now, live),
        ]
        if binary:
            joint, shares = joint_confusion(said, base.label, past), said_shares(said_now, live)
            rows = effective_rows(past)
            likelier = (
                rlls_weights(joint, shares, rows=rows) if singular else bbse_weights(joint, shares)
            )
            usable = bool(np.isfinite(likelier).all()) and float(likelier.sum()) > 0.0
            found += (
                [float(class_priors(joint, likelier)[1]), shifted_accuracy(joint, likelier)]
                if usable
                else [np.nan, np.nan]
            )
        return found

    point = np.array(values(base.weight, now.weight))
    draws = _bootstrap(values, reference, current, base, now, seed)
    shift = "RLLS" if singular else "BBSE"
    names = [("accuracy", "ATC"), ("accuracy", "DoC"), (RATE, shift), ("accuracy", shift)]
    found = []
    for at, value in enumerate(point.tolist()):
        metric, method = names[at]
        found.append(_named(metric, method, value, interval(draws[:, at], value)))
    return found


def _named(
    metric: str, method: str, value: float, ci: tuple[float | None, float | None]
) -> Estimate:
    label = {"accuracy": "accuracy", RATE: "label rate"}[metric]
    if not np.isfinite(value):
        words = f"{label} cannot be estimated by {method} from these predictions"
        return Estimate(metric, None, (None, None), method, None, words)
    between = "" if ci[0] is None or ci[1] is None else f" ({ci[0]:.3f} to {ci[1]:.3f})"
    words = f"{label} estimated at {value:.3f}{between} by {method}"
    return Estimate(metric, value, ci, method, None, words)


def _bootstrap(
    values: Values,
    reference: Window,
    current: Window,
    base: JudgedRows,
    now: JudgedRows,
    seed: int,
) -> FloatArray:
    """Replicates (r, m) with days, or rows, of both windows drawn anew."""
    rng = np.random.default_rng(seed)
    past_days, live_days = day_blocks(reference, base.index), day_blocks(current, now.index)
    draws = []
    for _ in range(REPLICATES):
        past = base.weight * resampled_rows(len(base), past_days, rng)
        live = now.weight * resampled_rows(len(now), live_days, rng)
        draws.append(values(past, live))
    return np.array(draws)
