"""What a slice keeps of its rows: 27 sums, from which every mean, loss and verdict is read.

ω is the inverse inclusion probability of a row. z is its score in reference standard
deviations; r = r̂(score) is the score after the reference's recalibration curve. *Judged* rows
have a label and a score, *paired* rows a baseline score too. For regression, calibration is the
residual label - score in reference standard deviations, with information one a row, so that one
formula serves all tasks.

Rows of one cluster may share their outcome. The squares that variances are made of, Σω² of judged
and paired rows and Σω² r(1 - r), are then squares of sums over each cluster, as if its rows moved
as one: an upper bound whatever their dependence, known before the labels are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, Self

import numpy as np

from detectors.kernels import njit
from detectors.records import CodeArray, FloatArray, Schema, Task, Window

BLOCK_ROWS = 1 << 16
Z_LIMIT = 10.0
"""A score counts at most as ten reference sd, so that one broken row cannot carry a tick."""
R_FLOOR = 1e-3
"""r̂ is kept inside [.001, .999]: a curve that says "never" would make one event infinite news."""


class Sum(IntEnum):
    """The place of each sum in a slice's vector."""

    ROWS = 0  # rows, unweighted
    WEIGHT = 1  # Σω
    WEIGHT2 = 2  # Σω²
    SCORED = 3  # Σω of rows with a score
    SCORED2 = 4  # Σω² of them
    SCORE = 5  # Σωz
    SCORE2 = 6  # Σωz²
    LABELLED_ROWS = 7  # rows with a label, unweighted
    LABELLED = 8  # Σω of them
    LABEL = 9  # Σωy
    JUDGED_ROWS = 10  # rows with a label and a score, unweighted
    JUDGED = 11  # Σω of them
    JUDGED2 = 12  # Σω²
    OBSERVED = 13  # Σωy
    PREDICTED = 14  # Σωp, the score as it was served
    LOSS = 15  # Σωℓ
    LOSS2 = 16  # Σωℓ²
    RESIDUAL = 17  # Σω(y - r)
    INFORMATION = 18  # Σω r(1 - r)
    INFORMATION2 = 19  # Σω² r(1 - r)
    PAIRED_ROWS = 20  # rows with label, score and baseline score (or a contrast), unweighted
    PAIRED = 21  # Σω of them
    PAIRED2 = 22  # Σω²
    DIFFERENCE = 23  # Σωd, d = loss(transferred) - loss(baseline)
    DIFFERENCE2 = 24  # Σωd²
    BASELINE_LOSS = 25  # Σω loss(baseline)
    PAIRED_ONES = 26  # paired rows with label 1, unweighted


SLICE_SUMS: tuple[str, ...] = tuple(place.name.lower() for place in Sum)
ALL_ROWS = ""
"""The name of the slice that is all rows."""


class Curve(Protocol):
    """A recalibration curve r̂."""

    def apply(self, score: FloatArray) -> FloatArray: ...
    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Scale:
    """A centre and a unit, frozen on the reference; the kurtosis of a normal variable is 3."""

    mean: float
    sd: float
    kurtosis: float = 3.0

    @classmethod
    def of(cls, values: FloatArray, weight: FloatArray) -> Self | None:
        """Weighted moments of the finite values (n,); None where there are none."""
        keep = np.isfinite(values)
        mass = weight[keep].sum()
        if not mass > 0.0:
            return None
        kept, weight = values[keep], weight[keep] / mass
        mean = float(weight @ kept)
        squares = (kept - mean) ** 2
        variance = float(weight @ squares)
        if not variance > 0.0:
            return cls(mean, 0.0)
        return cls(mean, float(np.sqrt(variance)), float(weight @ (squares / variance) ** 2))

    def standardise(self, values: FloatArray) -> FloatArray:
        """Values (n,) in sd from the mean, clipped at ten; NaN stays NaN."""
        z = (values - self.mean) / (self.sd if self.sd > 0.0 else 1.0)
        clipped: FloatArray = np.clip(z, -Z_LIMIT, Z_LIMIT)
        return clipped


@dataclass(frozen=True, slots=True)
class Ruler:
    """What rows are measured against: frozen on the reference."""

    task: Task
    score: Scale
    residual: Scale | None
    curve: Curve | None


def seen_sums(window: Window, ruler: Ruler, codes: Sequence[CodeArray], slices: int) -> FloatArray:
    """Sums (1 + slices, 27) of rows and scores; row 0 is all rows, the label sums are zero."""
    sums = np.zeros((1 + slices, len(Sum)))
    for rows in _blocks(window.rows):
        weight = _weight(window, rows)
        parts = np.zeros((rows.stop - rows.start, Sum.SCORE2 + 1))
        parts[:, Sum.ROWS] = 1.0
        parts[:, Sum.WEIGHT] = weight
        parts[:, Sum.WEIGHT2] = weight * weight
        if window.score is not None:
            z = ruler.score.standardise(window.score[rows])
            scored = ~np.isnan(z)
            z = np.where(scored, z, 0.0)
            parts[:, Sum.SCORED] = weight * scored
            parts[:, Sum.SCORED2] = weight * weight * scored
            parts[:, Sum.SCORE] = weight * z
            parts[:, Sum.SCORE2] = weight * z * z
        _add(sums, parts, 0, [code[rows] for code in codes])
    return sums


def label_sums(window: Window, ruler: Ruler, codes: Sequence[CodeArray], slices: int) -> FloatArray:
    """Sums (1 + slices, 27) of labels, losses and calibration over rows whose label is finite."""
    sums = np.zeros((1 + slices, len(Sum)))
    if window.label is None:
        return sums
    labelled = np.flatnonzero(np.isfinite(window.label))
    for block in _blocks(len(labelled)):
        rows = labelled[block]
        parts = _label_parts(window, ruler, rows)
        _add(sums, parts, int(Sum.LABELLED_ROWS), [code[rows] for code in codes])
    return sums


HEAD = "@"
"""Before the name of a further output, where its sums stand among those of slices."""


def head_sums(window: Window, schema: Schema, curves: Mapping[str, Curve]) -> dict[str, FloatArray]:
    """Sums (27,) of each further output over the rows that tell it, as if it were the score.

    Against its own curve of the reference, or itself where there is none.
    """
    from detectors.calibration.heads import head_rows

    found = {}
    for head, chance, outcome in head_rows(window, schema):
        known = np.flatnonzero(np.isfinite(chance))
        if not len(known):
            continue
        ruler = Ruler(Task.BINARY, Scale(0.0, 1.0), None, curves.get(head.name))
        shown = Window(
            rows=len(known),
            score=chance[known],
            label=outcome[known],
            weight=None if window.weight is None else window.weight[known],
            cluster=None if window.cluster is None else window.cluster.take(known),
        )
        found[f"{HEAD}{head.name}"] = label_sums(shown, ruler, [], 0)[0]
    return found


def losses(task: Task, score: FloatArray | None, label: FloatArray) -> FloatArray:
    """Loss (n,) of labels (n,); NaN where the score is missing or not finite."""
    from detectors.transfer.loss import loss_of

    if score is None:
        return np.full(len(label), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = loss_of(task, score, label)
    return np.where(np.isfinite(loss) & np.isfinite(score), loss, np.nan)


def _label_parts(window: Window, ruler: Ruler, rows: Any) -> FloatArray:
    assert window.label is not None
    label = window.label[rows]
    weight = _weight(window, rows)
    score = None if window.score is None else window.score[rows]
    loss = losses(ruler.task, score, label)
    judged = ~np.isnan(loss)
    first = int(Sum.LABELLED_ROWS)
    parts = np.zeros((len(label), len(Sum) - first))

    def put(place: Sum, values: Any, where: Any = True) -> None:
        parts[:, place - first] = np.where(where, values, 0.0)

    put(Sum.LABELLED_ROWS, 1.0)
    put(Sum.LABELLED, weight)
    put(Sum.LABEL, weight * label)
    if score is None:
        return parts
    residual, information = calibration_of_rows(ruler, score, label)
    shared = None if window.cluster is None else window.cluster.codes[rows]

    def squared(part: FloatArray, where: Any) -> FloatArray:
        """What Σω² becomes where rows of a cluster may move as one: the square of their sum."""
        kept = np.where(where, part, 0.0)
        return kept * (kept if shared is None else _together(kept, shared))

    put(Sum.JUDGED_ROWS, 1.0, judged)
    put(Sum.JUDGED, weight, judged)
    put(Sum.JUDGED2, squared(weight, judged), judged)
    put(Sum.OBSERVED, weight * label, judged)
    put(Sum.PREDICTED, weight * score, judged)
    put(Sum.LOSS, weight * loss, judged)
    put(Sum.LOSS2, weight * loss * loss, judged)
    put(Sum.RESIDUAL, weight * residual, judged)
    put(Sum.INFORMATION, weight * information, judged)
    put(Sum.INFORMATION2, squared(weight * np.sqrt(information), judged), judged)
    if window.contrast is not None:
        difference, baseline = window.contrast[rows, 0], window.contrast[rows, 1]
        paired = np.isfinite(difference) & np.isfinite(baseline)
    elif window.baseline_score is not None:
        baseline = losses(ruler.task, window.baseline_score[rows], label)
        paired = judged & ~np.isnan(baseline)
        difference = loss - baseline
    else:
        return parts
    put(Sum.PAIRED_ROWS, 1.0, paired)
    put(Sum.PAIRED, weight, paired)
    put(Sum.PAIRED2, squared(weight, paired), paired)
    put(Sum.DIFFERENCE, weight * difference, paired)
    put(Sum.DIFFERENCE2, weight * difference * difference, paired)
    put(Sum.BASELINE_LOSS, weight * baseline, paired)
    put(Sum.PAIRED_ONES, label > 0.5, paired)
    return parts


def calibration_of_rows(
    ruler: Ruler, score: FloatArray, label: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Residual (n,) and information (n,) of each row; NaN scores give NaN residuals."""
    if ruler.task is Task.REGRESSION:
        scale = ruler.residual or Scale(0.0, 1.0)
        return scale.standardise(label - score), np.ones(len(label))
    curve = ruler.curve
    expected = score if curve is None else np.where(np.isnan(score), np.nan, curve.apply(score))
    expected = np.clip(expected, R_FLOOR, 1.0 - R_FLOOR)
    return label - expected, expected * (1.0 - expected)


def _together(part: FloatArray, cluster: CodeArray) -> FloatArray:
    """The sum (n,) over the rows of each row's cluster; a row without one stands alone."""
    inside = cluster >= 0
    sums = np.bincount(cluster[inside], weights=part[inside], minlength=1)
    return np.where(inside, sums[np.where(inside, cluster, 0)], part)


def _weight(window: Window, rows: Any) -> FloatArray:
    if window.weight is not None:
        weight: FloatArray = window.weight[rows]
        return weight
    return np.ones(rows.stop - rows.start if isinstance(rows, slice) else len(rows))


def _blocks(rows: int) -> list[slice]:
    return [slice(start, min(rows, start + BLOCK_ROWS)) for start in range(0, rows, BLOCK_ROWS)]


def _add(sums: FloatArray, parts: FloatArray, first: int, codes: Sequence[CodeArray]) -> None:
    """Add parts (n, m) into columns first… of row 0 and of each row's slices."""
    stop = first + parts.shape[1]
    sums[0, first:stop] += parts.sum(axis=0)
    for code in codes:
        _scatter(parts, np.ascontiguousarray(code), first, sums)


@njit(cache=True, nogil=True)
def _scatter(parts: Any, codes: Any, first: Any, sums: Any) -> None:  # pragma: no cover
    for row in range(len(codes)):
        if codes[row] >= 0:
            for place in range(parts.shape[1]):
                sums[1 + codes[row], first + place] += parts[row, place]
