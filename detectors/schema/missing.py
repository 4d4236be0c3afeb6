"""A column that the reference has and the current window has not."""

from __future__ import annotations

from difflib import get_close_matches

from detectors.records import ColumnSpec, Schema, State, Window
from detectors.schema.check import MISSING, SchemaCheck


def check_missing(
    reference: Window, current: Window, column: ColumnSpec, schema: Schema
) -> SchemaCheck | None:
    """Certain as soon as one row has come. A new column with a similar name is proposed."""
    if not current.rows or not _has(reference, column.name) or _has(current, column.name):
        return None
    known = {spec.name for spec in schema.columns}
    new = [name for name in (*current.numeric, *current.categorical) if name not in known]
    near = get_close_matches(column.name, new, n=1, cutoff=0.6)
    return SchemaCheck(
        column=column.name,
        check=MISSING,
        state=State.DRIFT,
        detail=f"`{column.name}` is in the reference and not in {current.rows:,} current rows",
        proposal=f"`{near[0]}` is new and is probably `{column.name}`" if near else None,
    )


def _has(window: Window, name: str) -> bool:
    return name in window.numeric or name in window.categorical
