"""A column that held numbers and now holds words, or the other way round."""

from __future__ import annotations

from detectors.records import ColumnSpec, Kind, State, Window
from detectors.schema.check import RETYPED, SchemaCheck


def check_retyped(reference: Window, current: Window, column: ColumnSpec) -> SchemaCheck | None:
    before = reference.numeric if column.kind is Kind.NUMERIC else reference.categorical
    same = current.numeric if column.kind is Kind.NUMERIC else current.categorical
    other = current.categorical if column.kind is Kind.NUMERIC else current.numeric
    if not current.rows or column.name not in before or column.name in same:
        return None
    if column.name not in other:
        return None
    now = "words" if column.kind is Kind.NUMERIC else "numbers"
    was = "numbers" if column.kind is Kind.NUMERIC else "words"
    return SchemaCheck(
        column=column.name,
        check=RETYPED,
        state=State.DRIFT,
        detail=f"`{column.name}` held {was} in the reference and holds {now} now",
    )
