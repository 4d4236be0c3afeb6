"""What the reference itself looks like over stretches as long as the current window.

Two dry days have no rain in any row and nothing is broken. Where both windows have times, a
column that seems emptied or constant is let off if the reference had a stretch just like it, or
if the way its stretches differ makes one likely: a beta distribution with their mean and variance.
So is a number whose median moved no further than the medians of such stretches scatter: in a
calm week the wind is half of what it was, and no unit has changed.
"""

from __future__ import annotations

import numpy as np

from detectors.records import BoolArray, Categories, FloatArray, Window
from detectors.schema.check import ABSENT, ALL_NULL, CONSTANT, UNIT, ZERO_FILL, SchemaCheck

MIN_ROWS = 30
SLACK = 0.005
FEWEST_STRETCHES = 5
UNLIKELY = 1e-3
SCATTER_SD = 3.5
COMMON = 0.8
"""A value that four rows in five have anyway fills a calm stretch; little is lost with the rest."""

TIMED = frozenset({ABSENT, ALL_NULL, CONSTANT, ZERO_FILL})


def is_usual(check: SchemaCheck, reference: Window, current: Window) -> bool:
    """Whether some stretch of the reference, as long as `current`, shows the same.

    False without times in both windows, and for checks that are not about one value or a unit.
    """
    if check.check not in TIMED | {UNIT} or reference.ts_us is None or current.ts_us is None:
        return False
    span_us = int(current.ts_us.max()) - int(current.ts_us.min())
    if span_us <= 0:
        return False
    if check.check == UNIT:
        return _scatters(check.column, reference, current, span_us)
    for value in (None, _commonest(current, check.column)):
        now, before = _holds(current, check.column, value), _holds(reference, check.column, value)
        if now is None or before is None or not now.any():
            continue
        share = float(now.mean()) - SLACK
        if share + SLACK < 0.5:
            continue
        shares = _shares(before, reference, span_us)
        common = float(before.mean()) >= COMMON
        if common or (len(shares) and (shares.max() >= share or _likely(shares, share))):
            return True
    return False


def _scatters(column: str, reference: Window, current: Window, span_us: int) -> bool:
    """Whether the median moved by less than 3.5 sd of the medians of the reference's stretches."""
    before, now = reference.numeric.get(column), current.numeric.get(column)
    if before is None or now is None or reference.ts_us is None:
        return False
    stretch = (reference.ts_us - reference.ts_us.min()) // span_us
    parts = [before[stretch == one] for one in np.unique(stretch)]
    filled = [part[~np.isnan(part)] for part in parts]
    medians = [float(np.median(part)) for part in filled if len(part) >= MIN_ROWS]
    if len(medians) < FEWEST_STRETCHES:
        return False
    moved = abs(float(np.nanmedian(now)) - float(np.mean(medians)))
    return moved < SCATTER_SD * float(np.std(medians, ddof=1))


def _likely(shares: FloatArray, share: float) -> bool:
    """Whether stretches that vary like these (K,) reach a share once in a thousand or oftener."""
    from scipy.special import betaincc

    mean, variance = float(shares.mean()), float(shares.var())
    if len(shares) < FEWEST_STRETCHES or not 0.0 < variance < mean * (1.0 - mean):
        return False
    strength = mean * (1.0 - mean) / variance - 1.0
    return bool(betaincc(mean * strength, (1.0 - mean) * strength, share) > UNLIKELY)


def _shares(holds: BoolArray, reference: Window, span_us: int) -> FloatArray:
    """Share of rows that hold the value in each stretch with at least 30 rows (K,)."""
    assert reference.ts_us is not None
    stretch = (reference.ts_us - reference.ts_us.min()) // span_us
    rows = np.bincount(stretch)
    held = np.bincount(stretch, weights=holds)
    enough = rows >= MIN_ROWS
    found: FloatArray = held[enough] / rows[enough]
    return found


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
