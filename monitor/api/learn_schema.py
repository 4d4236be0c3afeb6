"""A provisional schema from the first events of a model that has no reference yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from detectors.records import ColumnSpec, Kind, Schema, Task
from monitor.api.row_types import EVENT_FIELDS
from monitor.files.roles import is_name

LEARN_ROWS = 1_000


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def learn_schema(
    events: Iterable[Mapping[str, Any]], task: Task, slices: tuple[tuple[str, ...], ...] = ()
) -> Schema:
    """Numbers are numeric, text and booleans categorical; a feature always null is left out.

    A feature with both is categorical: its numbers are read as names. Features keep the order in
    which they were first seen.
    """
    kinds: dict[str, Kind] = {}
    seen: set[str] = set()
    dimension = 0
    for event in events:
        seen.update(key for key in event if event[key] is not None)
        features = event.get("features")
        for name, value in features.items() if isinstance(features, dict) else ():
            if isinstance(value, bool | str):
                kinds[name] = Kind.CATEGORICAL
            elif isinstance(value, int | float):
                kinds.setdefault(name, Kind.NUMERIC)
        embedding = event.get("embedding")
        dimension = dimension or (len(embedding) if isinstance(embedding, list) else 0)
    columns = tuple(ColumnSpec(name, kind) for name, kind in kinds.items())
    return _schema(columns, seen, dimension, task, slices)


def learn_arrow_schema(
    table: pa.Table, task: Task, slices: tuple[tuple[str, ...], ...] = ()
) -> Schema:
    """The same by the types of Arrow columns; columns of other types are left out."""
    columns = []
    dimension = 0
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name == "embedding":
            dimension = _dimension(table, kind)
        elif field.name in EVENT_FIELDS:
            continue
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            columns.append(ColumnSpec(field.name, Kind.NUMERIC))
        elif pa.types.is_boolean(kind) or _is_text(kind):
            columns.append(ColumnSpec(field.name, Kind.CATEGORICAL))
    return _schema(tuple(columns), set(table.column_names), dimension, task, slices)


def _dimension(table: pa.Table, kind: pa.DataType) -> int:
    """The length of the first embedding; 0 where the column, or its name, holds none."""
    listed = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(kind) for is_kind in listed) or table.column_names.count("embedding") > 1:
        return 0
    sizes = table.column("embedding").combine_chunks().drop_null()
    return len(sizes[0]) if len(sizes) else 0


def _schema(
    columns: tuple[ColumnSpec, ...],
    seen: set[str],
    dimension: int,
    task: Task,
    slices: tuple[tuple[str, ...], ...],
) -> Schema:
    has_score = "score" in seen or (task is Task.REGRESSION and "prediction" in seen)
    return Schema(
        task=task,
        columns=tuple(column for column in columns if is_name(column.name)),
        slices=slices,
        has_score=has_score,
        has_baseline="baseline_score" in seen,
        embedding_dim=dimension,
    )
