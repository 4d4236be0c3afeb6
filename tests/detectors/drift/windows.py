"""Windows for the tests of batch comparison."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.records import Categories, ColumnSpec, FloatArray, Kind, Schema, Task, Window


def words(values: Sequence[str | None]) -> Categories:
    known = tuple(dict.fromkeys(value for value in values if value is not None))
    place = {value: at for at, value in enumerate(known)}
    codes = [-1 if value is None else place[value] for value in values]
    return Categories(np.array(codes, dtype=np.int32), known)


def numbers_schema(*names: str) -> Schema:
    return Schema(Task.BINARY, tuple(ColumnSpec(name, Kind.NUMERIC) for name in names))


def words_schema(*names: str) -> Schema:
    return Schema(Task.BINARY, tuple(ColumnSpec(name, Kind.CATEGORICAL) for name in names))


def numbers(**columns: FloatArray) -> Window:
    return Window(rows=len(next(iter(columns.values()))), numeric=columns)


def categories(**columns: Categories) -> Window:
    return Window(rows=len(next(iter(columns.values())).codes), categorical=columns)
