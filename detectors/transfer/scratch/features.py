"""Rows as a network reads them: numbers as they are, categories hashed into buckets.

Of a multiclass model it is known whether the predicted class was right, and no more. So the class
is one more category of a row, and what is learnt is how likely it is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from detectors.records import Categories, FloatArray, IntArray, Schema, Task, Window

BUCKETS = 256
"""Of each column. Two of 20 categories share one with a chance of about .5, which costs little."""

PREDICTED = "\x00predicted class"
"""No column has such a name."""

Numbers = NDArray[np.float32]
Buckets = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """Rows to learn from: numeric (n, p), NaN null; bucket (n, c), 0 null; the others (n,)."""

    numeric: Numbers
    bucket: Buckets
    target: FloatArray
    weight: FloatArray
    ts_us: IntArray

    def __len__(self) -> int:
        return len(self.target)

    def take(self, rows: IntArray | slice) -> LabelledRows:
        return LabelledRows(
            self.numeric[rows],
            self.bucket[rows],
            self.target[rows],
            self.weight[rows],
            self.ts_us[rows],
        )


def empty_rows(schema: Schema) -> LabelledRows:
    return LabelledRows(
        np.empty((0, len(schema.numeric)), np.float32),
        np.empty((0, len(schema.categorical) + (schema.task is Task.MULTICLASS)), np.int32),
        np.empty(0),
        np.empty(0),
        np.empty(0, np.int64),
    )


def join_rows(parts: list[LabelledRows]) -> LabelledRows:
    return LabelledRows(
        np.concatenate([part.numeric for part in parts]),
        np.concatenate([part.bucket for part in parts]),
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.ts_us for part in parts]),
    )


def features_of(window: Window, schema: Schema) -> tuple[Numbers, Buckets]:
    """The feature columns (n, p) and (n, c) in the schema's order; one that is absent is null."""
    n = window.rows
    numbers = [
        window.numeric[name] if name in window.numeric else np.full(n, np.nan)
        for name in schema.numeric
    ]
    buckets = [
        _hashed(name, window.categorical[name])
        if name in window.categorical
        else np.zeros(n, np.int32)
        for name in schema.categorical
    ]
    if schema.task is Task.MULTICLASS:
        words = window.prediction
        buckets.append(np.zeros(n, np.int32) if words is None else _hashed(PREDICTED, words))
    numeric = np.column_stack(numbers) if numbers else np.empty((n, 0))
    with np.errstate(over="ignore"):
        narrowed = numeric.astype(np.float32)
    narrowed[~np.isfinite(narrowed)] = np.nan
    return narrowed, (np.column_stack(buckets) if buckets else np.empty((n, 0), np.int32))


def labelled_rows(window: Window, schema: Schema) -> LabelledRows:
    """The rows with a finite label, in an order that does not depend on how they were stored."""
    if window.label is None or window.ts_us is None:
        return empty_rows(schema)
    known = np.isfinite(window.label)
    if schema.task is not Task.REGRESSION:
        known &= (window.label == 0.0) | (window.label == 1.0)
    kept = window.take(np.flatnonzero(known))
    assert kept.label is not None
    assert kept.ts_us is not None
    numeric, bucket = features_of(kept, schema)
    rows = LabelledRows(numeric, bucket, kept.label, kept.weights(), kept.ts_us)
    keys = (*bucket.T, *np.nan_to_num(numeric).T, kept.label, kept.ts_us)
    return rows.take(np.lexsort(keys))


def _hashed(name: str, column: Categories) -> Buckets:
    """Buckets 1…256 of a column's values, 0 for null; the same in every process."""
    of_value = [
        1 + xxhash.xxh64_intdigest(f"{name}\x1f{value}".encode()) % BUCKETS
        for value in column.values
    ]
    lookup = np.array([*of_value, 0], dtype=np.int32)
    return lookup[column.codes]
