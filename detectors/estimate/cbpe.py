"""Performance without labels, from the scores themselves: confidence-based estimation.

If a recalibrated score of .9 is right nine times in ten, the number of right answers can be
counted before any label comes. It sees a harder mix of rows; it is blind to a changed relation
between rows and labels, so it bridges the label delay and never pages. After NannyML's CBPE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from detectors.calibration.recalibration import Recalibration, fit_cells
from detectors.calibration.rows import JudgedRows, effective_rows, judged_rows
from detectors.estimate.realised import CUT, auc, realised_performance
from detectors.estimate.records import Estimate, day_blocks
from detectors.records import FloatArray, IntArray, Task, Window
from detectors.transfer.loss import CLIP

CELLS = 512
LABELS = {
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "f1": "F1",
    "auc": "AUC",
    "label_rate": "label rate",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Scores in cells: mean score (c,) and, per day (b, c), Σω, Σωy and rows.

    `scale` turns Σω into effective rows.
    """

    score: FloatArray
    mass: FloatArray
    positive: FloatArray
    rows: FloatArray
    scale: float


def estimate_performance(
    reference: Window,
    current: Window,
    *,
    task: Task,
    seed: int = 0,
    replicates: int = 200,
    likeness: FloatArray | None = None,
    method: str = "CBPE",
) -> tuple[Estimate, ...]:
    """Estimated log loss, accuracy and, for a binary task, F1, AUC and label rate of the window.

    The labelled rows of the reference give the recalibration curve; without any, the scores are
    believed and the words say so. The 95 % interval resamples both windows and refits the curve:
    by day where a window spans at least eight, else by row. Scores are read in at most 512 cells.
    `likeness` (n,) weighs reference rows when the curve is fitted. A regression has no such
    estimate: the result is empty.
    """
    if task is Task.REGRESSION or current.score is None:
        return ()
    now = scored_rows(current)
    if not len(now):
        return ()
    base = judged_rows(reference, task=task)
    if base is not None and likeness is not None:
        base = replace(base, weight=base.weight * likeness[base.index])
    known = base is not None and len(base) > 0
    edges = _edges(now.score)
    cells = _cells(now, edges, day_blocks(current, now.index))
    learnt, curve = None, None
    if base is not None and known:
        learnt = _cells(base, _edges(base.score), day_blocks(reference, base.index))
        curve = _fit_cells(
            learnt.score,
            learnt.mass.sum(axis=0) * learnt.scale,
            learnt.positive.sum(axis=0) * learnt.scale,
        )
    metrics = _metrics(task)
    values = _values(metrics, cells.score, cells.mass.sum(axis=0), curve)
    spread = _bootstrap(metrics, cells, learnt, np.random.default_rng(seed), replicates)
    realised = realised_performance(current, task)
    found = []
    for at, name in enumerate(metrics):
        draws = spread[:, at][np.isfinite(spread[:, at])]
        value = float(values[at]) if np.isfinite(values[at]) else None
        ci: tuple[float | None, float | None] = (None, None)
        if value is not None and 2 * len(draws) >= replicates > 0:
            lower, upper = np.quantile(draws, [0.025, 0.975])
            ci = (min(float(lower), value), max(float(upper), value))
        seen = realised.get(name)
        words = _words(name, value, ci, seen, known=known)
        found.append(Estimate(name, value, ci, method, seen, words))
    return tuple(found)


def scored_rows(window: Window) -> JudgedRows:
    """Rows with a score; the label takes no part."""
    assert window.score is not None
    weight = window.weights()
    index = np.flatnonzero(np.isfinite(window.score) & np.isfinite(weight) & (weight > 0.0))
    score = np.clip(window.score[index], 0.0, 1.0)
    return JudgedRows(index, score, np.zeros(len(index)), weight[index], None)


def _edges(score: FloatArray) -> FloatArray:
    """Lower edges of cells (c,): each score if there are few, else equal mass and the cut."""
    distinct = np.unique(score)
    if len(distinct) <= CELLS:
        return distinct
    quantiles = np.quantile(score, np.arange(CELLS) / CELLS, method="lower")
    return np.unique(np.append(quantiles, distinct[np.searchsorted(distinct, CUT) :][:1]))


def _cells(rows: JudgedRows, edges: FloatArray, block: IntArray | None) -> _Cells:
    cell = np.searchsorted(edges, rows.score, side="right") - 1
    count = len(edges)
    day = np.zeros(len(rows), dtype=np.int64) if block is None else block
    days = int(day.max()) + 1
    at = day * count + cell

    def table(values: FloatArray | None) -> FloatArray:
        return np.bincount(at, values, days * count).astype(np.float64).reshape(days, count)

    mass = table(rows.weight)
    total = np.maximum(mass.sum(axis=0), 1e-300)
    return _Cells(
        table(rows.weight * rows.score).sum(axis=0) / total,
        mass,
        table(rows.weight * rows.label),
        table(None),
        effective_rows(rows.weight) / float(rows.weight.sum()),
    )


def _resampled(cells: _Cells, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Σω and Σωy of one bootstrap replicate (c,): whole days, or rows where there are none."""
    days = len(cells.mass)
    if days > 1:
        times = rng.multinomial(days, np.full(days, 1.0 / days)).astype(np.float64)
        return times @ cells.mass, times @ cells.positive
    rows, mass = cells.rows[0], cells.mass[0]
    total = int(rows.sum())
    weight = mass / np.maximum(rows, 1.0)
    share = np.clip(cells.positive[0] / np.maximum(mass, 1e-300), 0.0, 1.0)
    counts = rng.multinomial(total, rows / total)
    ones = rng.binomial(counts, share)
    return counts * weight, ones * weight


def _bootstrap(
    metrics: dict[str, Metric],
    cells: _Cells,
    learnt: _Cells | None,
    rng: np.random.Generator,
    replicates: int,
) -> FloatArray:
    """Replicates (r, m) of every metric, the curve fitted anew each time."""
    draws = np.full((replicates, len(metrics)), np.nan)
    for replicate in range(replicates):
        curve = None
        if learnt is not None:
            mass, positive = _resampled(learnt, rng)
            curve = _fit_cells(learnt.score, mass * learnt.scale, positive * learnt.scale)
        now, _ = _resampled(cells, rng)
        draws[replicate] = _values(metrics, cells.score, now, curve)
    return draws


def _fit_cells(score: FloatArray, rows: FloatArray, positive: FloatArray) -> Recalibration:
    held = rows > 0.0
    return fit_cells(score[held], rows[held], np.minimum(positive, rows)[held])


Metric = Callable[[FloatArray, FloatArray, FloatArray], float]


def _values(
    metrics: dict[str, Metric], score: FloatArray, mass: FloatArray, curve: Recalibration | None
) -> FloatArray:
    """Every metric (m,) for scores (c,) of mass (c,); NaN where it does not exist."""
    rate = score if curve is None else curve.apply(score)
    share = mass / mass.sum()
    return np.array([metric(score, rate, share) for metric in metrics.values()])


def _metrics(task: Task) -> dict[str, Metric]:
    if task is Task.MULTICLASS:
        return {"log_loss": _log_loss, "accuracy": lambda _score, rate, share: float(share @ rate)}
    rates = {"log_loss": _log_loss, "accuracy": _accuracy, "f1": _f1, "auc": _auc}
    return {**rates, "label_rate": _label_rate}


def _log_loss(score: FloatArray, rate: FloatArray, share: FloatArray) -> float:
    served = np.clip(score, CLIP, 1.0 - CLIP)
    return float(-share @ (rate * np.log(served) + (1.0 - rate) * np.log1p(-served)))


def _accuracy(score: FloatArray, rate: FloatArray, share: FloatArray) -> float:
    return float(share @ np.where(score >= CUT, rate, 1.0 - rate))


def _f1(score: FloatArray, rate: FloatArray, share: FloatArray) -> float:
    said = score >= CUT
    both = float(share[said].sum()) + float(share @ rate)
    return 2.0 * float(share[said] @ rate[said]) / both if both > 0.0 else np.nan


def _auc(score: FloatArray, rate: FloatArray, share: FloatArray) -> float:
    found = auc(score, rate, share)
    return np.nan if found is None else found


def _label_rate(score: FloatArray, rate: FloatArray, share: FloatArray) -> float:
    return float(share @ rate)


def _words(
    name: str,
    value: float | None,
    ci: tuple[float | None, float | None],
    realised: float | None,
    *,
    known: bool,
) -> str:
    label = LABELS[name]
    if value is None:
        return f"{label} cannot be estimated from these scores"
    lower, upper = ci
    between = "" if lower is None or upper is None else f" ({lower:.3f} to {upper:.3f})"
    seen = "" if realised is None else f"; realised {realised:.3f} where labels have come"
    doubt = "" if known else "; the scores are believed as they are, no reference labels"
    return f"{label} estimated at {value:.3f}{between}{seen}{doubt}"
