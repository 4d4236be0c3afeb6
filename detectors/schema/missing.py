"""A column that the reference has and the current window has not, and what it may be called now."""

from __future__ import annotations

import math
from difflib import get_close_matches

import numpy as np

from detectors.records import ColumnSpec, Kind, Schema, State, Window
from detectors.schema.check import MISSING, SchemaCheck
from detectors.schema.pairs import Tally, tally_of

ALIKE = 0.05
"""Two columns hold the same where no share of rows differs by more, beside chance."""

NOISE = 1.63
"""Kolmogorov-Smirnov at .01, times the root of (n + m) / (n m)."""

MIN_ROWS = 50
MIN_VALUES = 5
"""With fewer values many columns look the same."""


def check_missing(
    reference: Window, current: Window, column: ColumnSpec, schema: Schema
) -> SchemaCheck | None:
    """Certain as soon as one row has come. What is proposed is a new column with a like name.

    Else the only new column that holds what the missing one held, if no other column of the
    reference holds the same.
    """
    if not current.rows or not _has(reference, column.name) or _has(current, column.name):
        return None
    known = {spec.name for spec in schema.columns}
    new = [name for name in (*current.numeric, *current.categorical) if name not in known]
    near = get_close_matches(column.name, new, n=1, cutoff=0.6)
    proposal = f"`{near[0]}` is new and is probably `{column.name}`" if near else None
    if proposal is None and (same := _same_content(reference, current, column, schema, new)):
        proposal = f"`{same}` is new, holds the same values and is probably `{column.name}`"
    return SchemaCheck(
        column=column.name,
        check=MISSING,
        state=State.DRIFT,
        detail=f"`{column.name}` is in the reference and not in {current.rows:,} current rows",
        proposal=proposal,
    )


def _same_content(
    reference: Window, current: Window, column: ColumnSpec, schema: Schema, new: list[str]
) -> str:
    was = tally_of(reference, column)
    if was is None or was.filled < MIN_ROWS or len(was.counts) < MIN_VALUES:
        return ""
    kind = [spec for spec in schema.columns if spec.kind is column.kind]
    others = [tally_of(reference, spec) for spec in kind if spec.name != column.name]
    fitting = []
    for name in new:
        now = tally_of(current, ColumnSpec(name, column.kind))
        if now is not None and now.filled >= MIN_ROWS and _alike(was, now, column.kind):
            doubtful = any(o is not None and _alike(o, now, column.kind) for o in others)
            fitting.append("" if doubtful else name)
    return fitting[0] if len(fitting) == 1 else ""


def _alike(a: Tally, b: Tally, kind: Kind) -> bool:
    """Whether two columns hold the same values as often, but for chance.

    Numbers by the Kolmogorov-Smirnov distance, words by total variation.
    """
    if not a.filled or not b.filled:
        return False
    limit = ALIKE + NOISE * math.sqrt((a.filled + b.filled) / (a.filled * b.filled))
    both = np.concatenate([a.values, b.values])
    values, place = np.unique(
        both.astype(float if kind is Kind.NUMERIC else str), return_inverse=True
    )
    before = np.bincount(place[: len(a.values)], a.counts, len(values)) / a.filled
    now = np.bincount(place[len(a.values) :], b.counts, len(values)) / b.filled
    if kind is Kind.CATEGORICAL:
        return bool(np.abs(before - now).sum() / 2 <= limit)
    return bool(np.abs(np.cumsum(before - now)).max() <= limit)


def _has(window: Window, name: str) -> bool:
    return name in window.numeric or name in window.categorical
