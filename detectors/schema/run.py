"""All schema checks on a reference and a current window, for reports and for the diagnosis."""

from __future__ import annotations

import numpy as np

from detectors.findings.cells import cell_pair, share_explained
from detectors.records import ColumnSpec, Kind, Schema, Window
from detectors.schema.absent import check_absent
from detectors.schema.all_null import check_all_null
from detectors.schema.cardinality import check_cardinality
from detectors.schema.check import ABSENT, ALL_NULL, CONSTANT, SchemaCheck
from detectors.schema.constant import check_constant
from detectors.schema.missing import check_missing
from detectors.schema.pairs import (
    CURRENT_ROWS,
    REFERENCE_ROWS,
    Pair,
    pair_of,
    thinned,
)
from detectors.schema.parent import check_parent
from detectors.schema.profiles import fields_of, profile
from detectors.schema.rename import check_rename
from detectors.schema.retyped import check_retyped
from detectors.schema.stretches import is_usual
from detectors.schema.swap import FEWEST_SWAPPED, check_swap
from detectors.schema.unit import check_unit
from detectors.schema.zero_fill import check_zero_fill


def check_schema(
    reference: Window,
    current: Window,
    schema: Schema,
) -> tuple[SchemaCheck, ...]:
    """What is wrong with the columns themselves, column by column; nothing found is ().

    Deterministic checks look at all rows, the others at up to 10,000 reference and 5,000 current
    rows. A column that is gone, empty or constant is not asked what else it might be.
    Columns that the score depends on most come first, by the share of the reference score's
    variance that lies between their cells, in whole percent.
    """
    if not reference.rows or not current.rows:
        return ()
    before, now = thinned(reference, REFERENCE_ROWS), thinned(current, CURRENT_ROWS)
    found: list[SchemaCheck] = []
    whole: list[Pair] = []
    for column in schema.columns:
        gone = check_retyped(reference, current, column) or check_missing(
            reference, current, column, schema
        )
        if gone is not None:
            found.append(gone)
            continue
        pair = pair_of(before, now, column)
        if pair is None:
            continue
        checks = [
            check_all_null(pair, current, column),
            check_constant(pair),
            check_absent(pair),
        ]
        seen = [check for check in checks if check is not None]
        found.extend(seen)
        if not any(check.check in (ALL_NULL, CONSTANT, ABSENT) for check in seen):
            counted = check_cardinality(pair)
            found.extend([] if counted is None else [counted])
            whole.append(pair)
    for pair in whole:
        if pair.kind is Kind.NUMERIC:
            found.extend(c for c in (check_unit(pair), check_zero_fill(pair)) if c is not None)
    found.extend(_by_profile([p for p in whole if p.kind is Kind.CATEGORICAL], before, now, schema))
    found = [check for check in found if not is_usual(check, reference, current)]
    order = {column.name: place for place, column in enumerate(schema.columns)}
    broken = {check.column for check in found}
    weight = {
        column.name: _weight(before, column) if len(broken) > 1 else 0.0
        for column in schema.columns
        if column.name in broken
    }
    return tuple(sorted(found, key=lambda check: (-weight[check.column], order[check.column])))


def _weight(reference: Window, column: ColumnSpec) -> float:
    """How much of the score's variance a column tells apart; 0 where scores are not known."""
    if reference.score is None:
        return 0.0
    known = np.isfinite(reference.score)
    cells, _, _ = cell_pair(reference, reference, column)
    return round(share_explained(reference.score[known], cells[known]), 2)


def _by_profile(
    pairs: list[Pair], before: Window, now: Window, schema: Schema
) -> list[SchemaCheck]:
    """The checks of categories that compare what the rows of each value look like."""
    if not pairs:
        return []
    fields = fields_of(before, now, schema)
    found: list[SchemaCheck | None] = []
    for pair in pairs:
        profiles = profile(pair.name, before, now, fields)
        found.append(check_rename(pair, profiles))
        if profiles is not None and profiles.reference.size and profiles.current.size:
            found.append(check_parent(pair, profiles))
        rare = profile(pair.name, before, now, fields, fewest=FEWEST_SWAPPED)
        if rare is not None and rare.reference.size and rare.current.size:
            found.append(check_swap(pair.name, rare))
    return [check for check in found if check is not None]
