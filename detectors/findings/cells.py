"""Columns as small integers shared by two windows, for every contrast that works cell by cell."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from detectors.records import (
    Categories,
    ColumnSpec,
    FloatArray,
    IntArray,
    Kind,
    Window,
    concat_categories,
)

QUANTILES = (0.2, 0.4, 0.6, 0.8)


def numeric_pair(reference: Window, current: Window, name: str) -> tuple[FloatArray, FloatArray]:
    """A numeric column of both windows; infinities and a column that is not there read as null."""

    def read(window: Window) -> FloatArray:
        column = window.numeric.get(name)
        if column is None:
            return np.full(window.rows, np.nan)
        return np.where(np.isfinite(column), column, np.nan)

    return read(reference), read(current)


def category_pair(
    reference: Window, current: Window, name: str
) -> tuple[IntArray, IntArray, tuple[str, ...]]:
    """A categorical column of both windows as codes into one vocabulary; -1 is null."""

    def used(window: Window) -> Categories:
        column = window.categorical.get(name)
        if column is None:
            return Categories(np.full(window.rows, -1, np.int32), ())
        kept, codes = np.unique(column.codes, return_inverse=True)
        nulls = int(kept.size > 0 and kept[0] < 0)
        values = tuple(column.values[code] for code in kept[nulls:])
        return Categories((codes - nulls).astype(np.int32), values)

    joined = concat_categories([used(reference), used(current)])
    codes = joined.codes.astype(np.int64)
    return codes[: reference.rows], codes[reference.rows :], joined.values


def cell_pair(
    reference: Window, current: Window, column: ColumnSpec
) -> tuple[IntArray, IntArray, tuple[str, ...]]:
    """Cell of every row in both windows, and what each cell is called.

    Numeric columns: fifths of the reference. Nulls are a cell of their own, the last one.
    """
    if column.kind is Kind.CATEGORICAL:
        left, right, values = category_pair(reference, current, column.name)
        names = (*values, "null")
        null = len(values)
        return np.where(left < 0, null, left), np.where(right < 0, null, right), names
    left_values, right_values = numeric_pair(reference, current, column.name)
    present = left_values[~np.isnan(left_values)]
    edges = np.unique(np.quantile(present, QUANTILES)) if present.size else np.empty(0)
    bounds = [f"{edge:.6g}" for edge in edges]
    names = (
        *(f"< {bound}" for bound in bounds[:1]),
        *(f"{low} to {high}" for low, high in pairwise(bounds)),
        *(f">= {bound}" for bound in bounds[-1:]),
        *(("any value",) if not bounds else ()),
        "null",
    )

    def cells(values: FloatArray) -> IntArray:
        inside = np.digitize(np.where(np.isnan(values), 0.0, values), edges)
        return np.where(np.isnan(values), len(names) - 1, inside).astype(np.int64)

    return cells(left_values), cells(right_values), names


def share_explained(values: FloatArray, cells: IntArray) -> float:
    """Share of the variance of values (n,) that lies between cells (eta squared), 0 to 1."""
    total = float(np.var(values))
    if total <= 0 or len(values) < 2:
        return 0.0
    counts = np.bincount(cells)
    sums = np.bincount(cells, weights=values)
    filled = counts > 0
    means = sums[filled] / counts[filled]
    between = float(np.average((means - values.mean()) ** 2, weights=counts[filled]))
    return max(0.0, between / total - (int(filled.sum()) - 1) / len(values))
