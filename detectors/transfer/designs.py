"""How the baseline's loss becomes known, and what each way cannot see.

*Shadow*: both scores on every row. *A/B*: each row is served by one model, by chance.
*Interleaved*: both offer, and an event credits the one whose offer was taken. *Trained*: Kedge
trains the baseline on the domain's own labels as they come. Every design ends in the same two
numbers a row, a loss difference and a baseline loss, so one verdict reads them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from detectors.records import (
    BaselinePlan,
    BoolArray,
    Categories,
    Design,
    FloatArray,
    Settings,
    Task,
    Window,
)
from detectors.transfer.loss import LOSS_NAME, loss_of
from detectors.transfer.losses import VerdictLoss, loss_words

CAVEAT: Mapping[Design, str] = MappingProxyType(
    {
        Design.SHADOW: "a shadow sees only rows and labels that the served model's decisions let "
        "happen, which favours the served model",
        Design.AB: "the two arms serve different rows, so it needs several times the rows of a "
        "paired comparison; in return it sees what the models' decisions change",
        Design.INTERLEAVED: "it says which model's offers are preferred where both offer, not "
        "how much loss either has",
        Design.TRAINED: "the baseline learns from labels that the served model's decisions let "
        "happen, and is a small network: a better one from scratch may exist",
        Design.NONE: "",
    }
)

KNOWS_THE_CLASS = (
    "the baseline is told which class was predicted and says how likely that is right: whether a "
    "model from scratch would have chosen another class is not seen"
)

LEAST_PROPENSITY = 0.01
"""A row served with a smaller chance than this would carry a hundred rows' weight."""


def caveat_of(task: Task, design: Design) -> str:
    """What a verdict of this design cannot see."""
    if design is Design.TRAINED and task is Task.MULTICLASS:
        return KNOWS_THE_CLASS
    return CAVEAT[design]


def loss_name(task: Task, design: Design, settings: Settings | None = None) -> str:
    """What the difference of a verdict is a difference of."""
    if design is Design.INTERLEAVED:
        return "share of credits"
    return LOSS_NAME[task] if settings is None else loss_words(task, settings)


def with_contrast(
    window: Window,
    plan: BaselinePlan,
    *,
    task: Task,
    centre: float,
    loss: VerdictLoss | None = None,
) -> Window:
    """The rows with what the plan's design makes of them; shadow rows as they are.

    Scores of another baseline are taken away where there is to be none, or one of Kedge's own.

    `centre` is a loss known beforehand, the reference's mean: inverse propensities then weigh
    deviations from it, which leaves the mean difference alone and takes most of its noise away.
    `loss` is the one that was chosen, None the task's own.
    """
    match plan.design:
        case Design.AB:
            contrast = ab_contrast(window, plan, task=task, centre=centre, loss=loss)
            return replace(window, contrast=contrast)
        case Design.INTERLEAVED:
            return replace(window, contrast=credit_contrast(window, plan))
        case Design.NONE | Design.TRAINED:
            return replace(window, baseline_score=None)
    return paired_by(window, loss)


def paired_by(window: Window, loss: VerdictLoss | None) -> Window:
    """Rows with what a chosen loss makes of both models; as they are without one."""
    if loss is None or not loss.compares(window):
        return window
    served, baseline = loss.transferred(window), loss.baseline(window)
    return replace(window, contrast=np.column_stack([served - baseline, baseline]))


def ab_contrast(
    window: Window,
    plan: BaselinePlan,
    *,
    task: Task,
    centre: float = 0.0,
    loss: VerdictLoss | None = None,
) -> FloatArray:
    """Inverse-propensity contrast (n, 2) of rows that one arm each served.

    1{A=T}(ℓ - c)/π - 1{A=S}(ℓ - c)/(1 - π), and 1{A=S}ℓ/(1 - π), whose means are the loss
    difference and the baseline's loss. NaN for rows of another arm, or whose propensity is
    missing or outside [.01, .99].
    """
    treated, control = arms_of(window, plan)
    nothing = np.full(window.rows, np.nan)
    score = nothing if window.score is None else window.score
    label = nothing if window.label is None else window.label
    of_row = loss_of(task, score, label) if loss is None else loss.transferred(window)
    share = np.full(window.rows, plan.share)
    if plan.propensity:
        share = window.numeric.get(plan.propensity, nothing)
    fair = (share >= LEAST_PROPENSITY) & (share <= 1.0 - LEAST_PROPENSITY)
    usable = (treated | control) & fair & np.isfinite(of_row)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(treated, 1.0 / share, -1.0 / (1.0 - share))
        contrast = np.column_stack(
            [weight * (of_row - centre), np.where(control, of_row / (1.0 - share), 0.0)]
        )
    return np.where(usable[:, None], contrast, np.nan)


def credit_contrast(window: Window, plan: BaselinePlan) -> FloatArray:
    """Credits (n, 2): -1 where the transferred model's offer was taken, 1 the baseline's, 0 none.

    An offer counts as taken where the label is above 0; the second column is one a row, so the
    margin is a share of all events.
    """
    treated, control = arms_of(window, plan)
    label = np.full(window.rows, np.nan) if window.label is None else window.label
    taken = label > 0.0
    credit = np.where(taken & control, 1.0, 0.0) - np.where(taken & treated, 1.0, 0.0)
    return np.where(
        np.isfinite(label)[:, None], np.column_stack([credit, np.ones(window.rows)]), np.nan
    )


def arms_of(window: Window, plan: BaselinePlan) -> tuple[BoolArray, BoolArray]:
    """Which rows (n,) the transferred model's arm served, and which the baseline's."""
    arm = window.arm or Categories(np.full(window.rows, -1, np.int32), ())
    return tuple(_named(arm, name) for name in (plan.treated, plan.control))  # type: ignore[return-value]  # two names


def _named(column: Categories, name: str) -> BoolArray:
    if name not in column.values:
        return np.zeros(len(column.codes), dtype=np.bool_)
    found: BoolArray = column.codes == column.values.index(name)
    return found


def tick_difference(treated: FloatArray, control: FloatArray) -> tuple[float, float] | None:
    """Difference of the arms' mean losses, and s²/n + s²/n; None below two rows each."""
    if len(treated) < 2 or len(control) < 2:
        return None
    variance = treated.var(ddof=1) / len(treated) + control.var(ddof=1) / len(control)
    return float(treated.mean() - control.mean()), float(variance)


def arm_trouble(window: Window, plan: BaselinePlan) -> str:
    """What is wrong with the arms of an A/B or interleaved design, "" if nothing is."""
    if plan.design not in {Design.AB, Design.INTERLEAVED}:
        return ""
    treated, control = arms_of(window, plan)
    if window.arm is None:
        return "no arm is recorded; send `arm` with each event"
    for name, rows in ((plan.treated, treated), (plan.control, control)):
        if window.rows and not rows.any():
            seen = ", ".join(repr(value) for value in window.arm.values[:5]) or "none"
            return f"no row of arm {name!r}; the arms seen are {seen}"
    if plan.design is Design.AB and plan.propensity and plan.propensity not in window.numeric:
        return f"no numeric column {plan.propensity!r} to read propensities from"
    if plan.design is Design.AB and not plan.propensity:
        both = int(treated.sum() + control.sum())
        share = float(treated.sum()) / both
        error = float(np.sqrt(plan.share * (1.0 - plan.share) / both))
        if both >= 100 and abs(share - plan.share) > 4.0 * error:
            return (
                f"{100 * share:.1f} % of {both:,} rows went to arm {plan.treated!r}, where "
                f"{100 * plan.share:.1f} % were planned: the split is not what it is said to be"
            )
    return ""
