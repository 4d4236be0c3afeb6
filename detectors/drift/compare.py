"""Compare a window with its reference, column by column: the batch statistics of a report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from detectors.drift.categorical import measure_categorical
from detectors.drift.column import LEVEL, ColumnComparison, Measured, conclude
from detectors.drift.numeric import EXACT_ROWS, measure_numeric
from detectors.multiple import benjamini_hochberg
from detectors.records import Categories, ColumnSpec, FloatArray, Kind, Schema, State, Window

DesignEffect = float | Mapping[str, float]


def compare_columns(
    reference: Window,
    current: Window,
    schema: Schema,
    *,
    design_effect: DesignEffect = 1.0,
    exact_rows: int = EXACT_ROWS,
    workers: int | None = None,
) -> tuple[ColumnComparison, ...]:
    """Compare every feature column of the schema, in its order.

    `design_effect` is one number or one a column (`design_effects`); 1 counts every row as
    independent, which is all that can be done without times. A column whose window has more than
    `exact_rows` rows is compared on 4,096 cells. Columns are spread over `workers` threads, by
    default one a core. Judged at a false discovery rate of .05 over all columns.

    A column that is missing, or not of its kind, in either window is "undetermined" and says so.
    """
    jobs = [
        partial(_measure, reference, current, column, _of(design_effect, column.name), exact_rows)
        for column in schema.columns
    ]
    return judge_all(_run(jobs, workers))


def compare_scores(
    reference: Window,
    current: Window,
    *,
    design_effect: DesignEffect = 1.0,
    exact_rows: int = EXACT_ROWS,
) -> ColumnComparison:
    """Compare the model's scores as one more column, named "score"."""
    return _one_signal(
        "score", reference.score, current.score, reference, current, design_effect, exact_rows
    )


def compare_labels(
    reference: Window, current: Window, *, design_effect: DesignEffect = 1.0
) -> ColumnComparison:
    """Compare the labels that have come as one more column, named "label".

    Rows without a label are no nulls here: they are left out.
    """

    def labelled(window: Window) -> Window:
        return window if window.label is None else window.take(~np.isnan(window.label))

    reference, current = labelled(reference), labelled(current)
    return _one_signal(
        "label", reference.label, current.label, reference, current, design_effect, EXACT_ROWS
    )


def compare_predictions(
    reference: Window, current: Window, *, design_effect: DesignEffect = 1.0
) -> ColumnComparison:
    """Compare the predicted classes of a multiclass model, as a column named "prediction"."""
    column = ColumnSpec("prediction", Kind.CATEGORICAL)
    if reference.prediction is None or current.prediction is None:
        return conclude(_absent(column, reference, current), rejected=False)
    measured = measure_categorical(
        column.name,
        reference.prediction,
        current.prediction,
        weight_reference=reference.weight,
        weight_current=current.weight,
        design_effect=_of(design_effect, column.name),
    )
    return judge_all([measured])[0]


def judge_all(measured: Sequence[Measured]) -> tuple[ColumnComparison, ...]:
    """Give each column its state, knowing how many were looked at."""
    rejected = benjamini_hochberg(np.array([one.p_value for one in measured]), LEVEL)
    return tuple(
        conclude(one, rejected=bool(reject)) for one, reject in zip(measured, rejected, strict=True)
    )


def _one_signal(
    name: str,
    before: FloatArray | None,
    after: FloatArray | None,
    reference: Window,
    current: Window,
    design_effect: DesignEffect,
    exact_rows: int,
) -> ColumnComparison:
    if before is None or after is None:
        column = ColumnSpec(name, Kind.NUMERIC)
        return conclude(_absent(column, reference, current), rejected=False)
    measured = measure_numeric(
        name,
        before,
        after,
        weight_reference=reference.weight,
        weight_current=current.weight,
        design_effect=_of(design_effect, name),
        exact_rows=exact_rows,
    )
    return judge_all([measured])[0]


def _measure(
    reference: Window, current: Window, column: ColumnSpec, design_effect: float, exact_rows: int
) -> Measured:
    before, after = _column(reference, column), _column(current, column)
    if isinstance(before, Categories) and isinstance(after, Categories):
        return measure_categorical(
            column.name,
            before,
            after,
            weight_reference=reference.weight,
            weight_current=current.weight,
            design_effect=design_effect,
        )
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        return measure_numeric(
            column.name,
            before,
            after,
            weight_reference=reference.weight,
            weight_current=current.weight,
            design_effect=design_effect,
            exact_rows=exact_rows,
        )
    return _absent(column, reference, current)


def _column(window: Window, column: ColumnSpec) -> FloatArray | Categories | None:
    if column.kind is Kind.NUMERIC:
        return window.numeric.get(column.name)
    return window.categorical.get(column.name)


def _absent(column: ColumnSpec, reference: Window, current: Window) -> Measured:
    def has(window: Window) -> bool:
        return column.name in window.numeric or column.name in window.categorical

    remarks = [
        f"not {'a ' + column.kind.value + ' column' if has(window) else 'there'} in the {name}"
        for window, name in ((reference, "reference"), (current, "current window"))
        if _column(window, column) is None
    ]
    return Measured(
        ColumnComparison(
            name=column.name,
            kind=column.kind.value,
            state=State.UNDETERMINED,
            rows=(reference.rows, current.rows),
        ),
        (),
        tuple(remarks),
    )


def _of(design_effect: DesignEffect, column: str) -> float:
    if isinstance(design_effect, Mapping):
        return design_effect.get(column, 1.0)
    return design_effect


def _run(jobs: Sequence[Callable[[], Measured]], workers: int | None) -> list[Measured]:
    """Run the jobs over threads: sorting, counting and the kernels all let go of the GIL."""
    threads = min(len(jobs), workers or os.cpu_count() or 1)
    if threads <= 1:
        return [job() for job in jobs]
    with ThreadPoolExecutor(threads) as pool:
        return [done.result() for done in [pool.submit(job) for job in jobs]]
