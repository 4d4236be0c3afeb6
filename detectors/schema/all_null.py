"""A column whose every row is null, which in the reference it was not."""

from __future__ import annotations

import numpy as np

from detectors.records import ColumnSpec, Kind, State, Window
from detectors.schema.check import ALL_NULL, SchemaCheck
from detectors.schema.pairs import CERTAIN, Pair


def check_all_null(pair: Pair, current: Window, column: ColumnSpec) -> SchemaCheck | None:
    """All rows are looked at, not only those of the pair.

    Rows of a column that is mostly null anyway must be so many that chance is out of the question.
    """
    if pair.current.filled or not current.rows or not pair.reference.filled:
        return None
    if pair.reference.null_share**current.rows > CERTAIN or not _all_null(current, column):
        return None
    return SchemaCheck(
        column=pair.name,
        check=ALL_NULL,
        state=State.DRIFT,
        detail=(
            f"`{pair.name}` is null in all {current.rows:,} rows; in the reference in "
            f"{100 * pair.reference.null_share:.3g} %"
        ),
    )


def _all_null(window: Window, column: ColumnSpec) -> bool:
    if column.kind is Kind.NUMERIC:
        return bool(np.isnan(window.numeric[column.name]).all())
    return bool((window.categorical[column.name].codes < 0).all())
