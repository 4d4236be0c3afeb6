"""A schema as plain JSON values, and back."""

from __future__ import annotations

from typing import Any

from detectors.records import ColumnSpec, Kind, Output, Says, Schema, Task


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """A schema as plain JSON values."""
    return {
        "task": schema.task.value,
        "columns": [[column.name, column.kind.value] for column in schema.columns],
        "slices": [list(names) for names in schema.slices],
        "has_score": schema.has_score,
        "has_baseline": schema.has_baseline,
        "has_label": schema.has_label,
        "embedding_dim": schema.embedding_dim,
        "outputs": [[one.column, one.says.value, one.of] for one in schema.outputs],
    }


def schema_from_json(value: dict[str, Any]) -> Schema:
    """The schema `schema_to_json` was given."""
    return Schema(
        task=Task(value["task"]),
        columns=tuple(ColumnSpec(name, Kind(kind)) for name, kind in value["columns"]),
        slices=tuple(tuple(names) for names in value["slices"]),
        has_score=value["has_score"],
        has_baseline=value["has_baseline"],
        has_label=value["has_label"],
        embedding_dim=value["embedding_dim"],
        outputs=tuple(Output(c, Says(says), of) for c, says, of in value.get("outputs", ())),
    )
