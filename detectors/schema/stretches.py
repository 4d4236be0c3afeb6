"""What the reference itself looks like over stretches as long as the current window.

Two dry days have no rain in any row and nothing is broken. Where both windows have times, a
column that seems emptied or constant is let off if the reference had a stretch just like it.
"""

from __future__ import annotations

import numpy as np

from detectors.records import BoolArray, Categories, Window
from detectors.schema.check import ABSENT, ALL_NULL, CONSTANT, ZERO_FILL, SchemaCheck

MIN_ROWS = 30
SLACK = 0.005
TIMED = frozenset({ABSENT, ALL_NULL, CONSTANT, ZERO_FILL})


def is_usual(check: SchemaCheck, reference: Window, current: Window) -> bool:
    """Whether some stretch of the reference, as long as `current`, shows the same.

    False without times in both windows, and for checks that are not about one value.
    """
    if check.check not in TIMED or reference.ts_us is None or current.ts_us is None:
        return False
    span_us = int(current.ts_us.max()) - int(current.ts_us.min())
    if span_us <= 0:
        return False
    for value in (None, _commonest(current, check.column)):
        now, before = _holds(current, check.column, value), _holds(reference, check.column, value)
        if now is None or before is None or not now.any():
            continue
        share = float(now.mean())
        if share >= 0.5 and _most(before, reference, span_us) >= share - SLACK:
            return True
    return False


def _most(holds: BoolArray, reference: Window, span_us: int) -> float:
    """The largest share of rows that hold the value over stretches with at least 30 rows."""
    assert reference.ts_us is not None
    stretch = (reference.ts_us - reference.ts_us.min()) // span_us
    rows = np.bincount(stretch)
    held = np.bincount(stretch, weights=holds)
    enough = rows >= MIN_ROWS
    return float((held[enough] / rows[enough]).max()) if enough.any() else 0.0


def _commonest(window: Window, column: str) -> float | str | None:
    """The commonest value of a column that is not null, None where it has none."""
    if column in window.numeric:
        values, counts = np.unique(window.numeric[column], return_counts=True)
        filled = ~np.isnan(values)
        return float(values[filled][counts[filled].argmax()]) if filled.any() else None
    if column in window.categorical:
        words = window.categorical[column]
        codes = words.codes[words.codes >= 0]
        return words.values[int(np.bincount(codes).argmax())] if len(codes) else None
    return None


def _holds(window: Window, column: str, value: float | str | None) -> BoolArray | None:
    """Rows (n,) that hold a value, or null for None; None where the column is not there."""
    if column in window.numeric:
        numbers = window.numeric[column]
        held: BoolArray = np.isnan(numbers) if value is None else numbers == value
        return held
    if column in window.categorical:
        words = window.categorical[column]
        code = -1 if value is None else _code(words, str(value))
        found: BoolArray = words.codes == code
        return found
    return None


def _code(words: Categories, value: str) -> int:
    """The code of a value, or one that no row has."""
    return words.values.index(value) if value in words.values else len(words.values)
