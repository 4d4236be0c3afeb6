"""The recovery ladder: which is the cheapest repair that takes the harm of a transfer away?

A few first labels fit each repair, later rows judge it, and harm is measured against the model
from scratch: never against the source's loss, for the source can simply be easier. Rungs from
cheap to dear: zero-shot (as served), intercept, Cox's line, then a re-fitted head and a fully
fine-tuned model where rows carry their scores, then scratch.

A repair that others trained is judged on the later rows that it scored, against what is served
and the model from scratch on those same rows: rows it was trained on come without its score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.calibration.cox import cox_line
from detectors.calibration.in_the_large import in_the_large
from detectors.calibration.rows import log_odds, sigmoid
from detectors.records import FloatArray, Task, Window
from detectors.transfer.loss import loss_of

FEWEST, MOST = 60, 150
"""Labels that fit the repairs: fewer say little, more are better spent on judging."""

FEWEST_LATER = 100
FEWEST_OF_A_CLASS = 10
ENOUGH = 0.8
MARGIN = 0.01
Z = 1.645
REMEDY = {
    "intercept": "recalibrate the level",
    "Cox": "recalibrate level and slope",
    "head": "re-fit the head",
    "full": "fine-tune the representation",
    "scratch": "serve the model from scratch",
}


@dataclass(frozen=True, slots=True)
class Rung:
    """A repair, its mean loss on later rows and the share of the harm that it takes away.

    `rows` were judged; for a head or a whole model only those of the later rows that it scored.
    """

    name: str
    loss: float
    removed: float | None
    rows: int


@dataclass(frozen=True, slots=True)
class Ladder:
    """`cheapest` names the first rung that takes away .8 of the harm; "" where there is none.

    `harm` is loss as served less loss from scratch on the later rows, with its standard error.
    """

    rungs: tuple[Rung, ...]
    fitted_on: int
    judged_on: int
    harm: float
    harm_se: float
    cheapest: str
    words: str


def recovery_ladder(
    window: Window,
    *,
    task: Task,
    fit_rows: int | None = None,
) -> Ladder | None:
    """Climb on rows with a score, a baseline score and a label, the earliest first.

    `fit_rows` of the rows fit, 60 to 150 unless told. A rung of `head_score` or `full_score` needs
    100 later rows that have it. None where scores or labels are missing, the task has more than
    two classes, or there are too few rows or labels of a class.
    """
    if window.score is None or window.baseline_score is None or window.label is None:
        return None
    if task is Task.MULTICLASS:
        return None
    kept = np.isfinite(window.score) & np.isfinite(window.baseline_score)
    kept &= np.isfinite(window.label)
    rows = np.flatnonzero(kept)
    if window.ts_us is not None:
        rows = rows[np.argsort(window.ts_us[rows], kind="stable")]
    k = int(np.clip(len(rows) // 3, FEWEST, MOST)) if fit_rows is None else fit_rows
    first, later = rows[:k], rows[k:]
    if len(first) < FEWEST or len(later) < FEWEST_LATER:
        return None
    y = window.label
    if task is Task.BINARY and min((y[first] == 1).sum(), (y[first] == 0).sum()) < (
        FEWEST_OF_A_CLASS
    ):
        return None
    scores: dict[str, FloatArray | None] = {
        "zero-shot": window.score[later],
        **recalibrated(window.score[first], y[first], window.score[later], task=task),
        "head": None if window.head_score is None else window.head_score[later],
        "full": None if window.full_score is None else window.full_score[later],
        "scratch": window.baseline_score[later],
    }
    losses = {
        name: loss_of(task, score, y[later])
        for name, score in scores.items()
        if score is not None and np.isfinite(score).sum() >= FEWEST_LATER
    }
    paired = losses["zero-shot"] - losses["scratch"]
    harm = float(paired.mean())
    error = float(paired.std(ddof=1) / np.sqrt(len(paired)))
    base = float(losses["scratch"].mean())
    clear = harm - Z * error > 0 and harm > MARGIN * base
    rungs = tuple(_rung(name, losses, clear=clear) for name in losses)
    cheapest = next(
        (r.name for r in rungs[1:] if r.removed is not None and r.removed >= ENOUGH), ""
    )
    words = _words(rungs, cheapest, len(first), len(later))
    return Ladder(rungs, len(first), len(later), harm, error, cheapest, words)


def _rung(name: str, losses: dict[str, FloatArray], *, clear: bool) -> Rung:
    """A repair on the later rows that it scored; what it removes is of the harm on those rows."""
    judged = np.isfinite(losses[name])
    served, loss, scratch = (losses[of][judged].mean() for of in ("zero-shot", name, "scratch"))
    removed = float((served - loss) / (served - scratch)) if clear and served > scratch else None
    return Rung(name, float(loss), removed, int(judged.sum()))


def recalibrated(
    score: FloatArray, label: FloatArray, later: FloatArray, *, task: Task
) -> dict[str, FloatArray | None]:
    """Scores (m,) of `later` after a level and after a line fitted on score, label (n,).

    None where a fit does not exist. Regression: a shift, and least squares.
    """
    if task is Task.REGRESSION:
        line = None
        if np.ptp(score) > 0:
            slope, level = np.polyfit(score, label, 1)
            line = level + slope * later
        return {"intercept": later + float((label - score).mean()), "Cox": line}
    large = in_the_large(score, label)
    fit = cox_line(score, label)
    z = log_odds(later)
    return {
        "intercept": None if large is None else sigmoid(z + large.intercept),
        "Cox": None if fit is None else sigmoid(fit.coefficients[0] + fit.coefficients[1] * z),
    }


def _words(rungs: tuple[Rung, ...], cheapest: str, fitted: int, judged: int) -> str:
    path = " → ".join(
        f"{rung.name} {rung.loss:.3g}" + (f" ({rung.rows:,} rows)" if rung.rows < judged else "")
        for rung in rungs
    )
    where = f"loss by repair, fitted on {fitted} labels and judged on {judged:,} later rows: {path}"
    if not cheapest:
        return f"{where}; no harm against scratch to repair"
    removed = next(r.removed for r in rungs if r.name == cheapest)
    share = (
        "" if removed is None or cheapest == "scratch" else f", {100 * removed:.0f} % of the harm"
    )
    return f"{where}; cheapest that is enough: {REMEDY[cheapest]}{share}"
