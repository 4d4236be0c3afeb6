"""The yes-or-no questions that a model answers beside its score, each a forecast of its own.

A class probability p_k forecasts "the class is k". A quantile forecasts "the label is at most q"
with the chance that is its level. A mean with an sd forecasts that the label is below the mean half
of the time, and within 1.28 sd of it in 80 % of cases. Read so, one arithmetic of calibration
serves them all. Outcomes are 0 or 1, so a wild label cannot carry a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray, Output, Says, Schema, Task, Window

CENTRAL = 0.8
CENTRAL_SD = 1.2815515655446004
"""A normal variable is within so many sd of its mean in 80 % of cases."""
MEAN, SPREAD = "mean", "central 80 %"


@dataclass(frozen=True, slots=True)
class Head:
    """One such question. `level` is its fixed chance, None where the model names it row by row."""

    name: str
    says: Says
    output: Output
    level: float | None = None


def heads_of(schema: Schema) -> tuple[Head, ...]:
    """The questions of a schema, in the order of its outputs."""
    heads = []
    for output in schema.outputs:
        if output.says is Says.CLASS and schema.task is Task.MULTICLASS:
            heads.append(Head(f"class {output.of}", Says.CLASS, output))
        elif output.says is Says.QUANTILE and schema.task is Task.REGRESSION:
            heads.append(Head(f"quantile {output.of}", Says.QUANTILE, output, output.level))
        elif output.says is Says.SD and schema.task is Task.REGRESSION:
            heads.append(Head(MEAN, Says.SD, output, 0.5))
            heads.append(Head(SPREAD, Says.SD, output, CENTRAL))
    return tuple(heads)


def head_rows(window: Window, schema: Schema) -> Iterator[tuple[Head, FloatArray, FloatArray]]:
    """Each question with its chance (n,) and outcome (n,), NaN where either is not known.

    Questions of which the window has no column are left out.
    """
    for head in heads_of(schema):
        column = window.numeric.get(head.output.column)
        if column is None:
            continue
        if head.says is Says.CLASS:
            outcome = _is_class(window, head.output.of)
            chance = np.where(np.isfinite(column), np.clip(column, 0.0, 1.0), np.nan)
        else:
            outcome = _of_value(window, head, column)
            assert head.level is not None
            chance = np.full(window.rows, head.level)
        known = np.isfinite(chance) & np.isfinite(outcome)
        yield head, np.where(known, chance, np.nan), np.where(known, outcome, np.nan)


def standard_residuals(window: Window, schema: Schema) -> FloatArray | None:
    """(label - mean) / sd (n,), NaN where not known; None without an sd among the outputs."""
    sds = [one.column for one in schema.outputs if one.says is Says.SD]
    column = window.numeric.get(sds[0]) if sds else None
    if column is None or window.score is None or window.label is None:
        return None
    with np.errstate(all="ignore"):
        z = (window.label - window.score) / column
    return np.where(np.isfinite(z) & (column > 0.0), z, np.nan)


def _is_class(window: Window, name: str) -> FloatArray:
    """1 where the class is this one, 0 where it is another, NaN where its name is not known.

    That a prediction was wrong does not say which class was right. Rows of which only that is known
    are left out with those known to be right: else the class would seem commoner than it is.
    """
    if window.truth is None:
        return np.full(window.rows, np.nan)
    mine = np.array([*(value == name for value in window.truth.values), False])
    codes = window.truth.codes
    # a label that is taken away again, because it had not come by then, takes its class along
    known = codes >= 0 if window.label is None else (codes >= 0) & np.isfinite(window.label)
    return np.where(known, mine[codes].astype(np.float64), np.nan)


def _of_value(window: Window, head: Head, column: FloatArray) -> FloatArray:
    if window.label is None:
        return np.full(window.rows, np.nan)
    if head.says is Says.QUANTILE:
        known = np.isfinite(column) & np.isfinite(window.label)
        return np.where(known, (window.label <= column).astype(np.float64), np.nan)
    if window.score is None:
        return np.full(window.rows, np.nan)
    known = np.isfinite(column) & (column > 0.0)
    known &= np.isfinite(window.label) & np.isfinite(window.score)
    gap = window.label - window.score
    inside = gap <= 0.0 if head.name == MEAN else np.abs(gap) <= CENTRAL_SD * column
    return np.where(known, inside.astype(np.float64), np.nan)
