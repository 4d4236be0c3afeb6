"""A domain's rows in the terms of its source, so that like is compared with like.

Only what the rows say of features is translated. Scores, predictions, labels and baselines stay:
what a mapping costs the model is still seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from detectors.records import (
    AppliedMapping,
    BoolArray,
    Categories,
    FloatArray,
    MappingEntry,
    Window,
)


def translated(window: Window, mappings: Sequence[AppliedMapping]) -> Window:
    """The window with its columns named, scaled and worded as in the source.

    A domain category that stands for several of the source is left as it is: nothing says which
    of them a row means. Columns that are not there are left out, as before.
    """
    acting = [one for one in mappings if not one.entry.absent and not one.entry.is_identity]
    if not acting or not window.rows:
        return window
    numeric, categorical = dict(window.numeric), dict(window.categorical)
    for one in acting:
        entry = one.entry
        since = _since(window, one.since_us)
        if not entry.category and entry.here in window.numeric:
            fallback = window.numeric.get(entry.column)
            numeric[entry.column] = _number(window.numeric[entry.here], fallback, entry, since)
        elif not entry.category and entry.here in window.categorical:
            words = window.categorical[entry.here]
            categorical[entry.column] = _renamed(words, entry, since)
    for column in {one.entry.column for one in acting if one.entry.category}:
        here = next(o.entry.here for o in acting if o.entry.category and o.entry.column == column)
        found = categorical.get(column, window.categorical.get(here))
        if found is not None:
            mine = [one for one in acting if one.entry.category and one.entry.column == column]
            categorical[column] = _reworded(found, window, mine)
    return replace(window, numeric=numeric, categorical=categorical)


def _since(window: Window, since_us: int | None) -> BoolArray:
    if since_us is None or window.ts_us is None:
        return np.ones(window.rows, np.bool_)
    later: BoolArray = window.ts_us >= since_us
    return later


def _number(
    values: FloatArray, fallback: FloatArray | None, entry: MappingEntry, since: BoolArray
) -> FloatArray:
    converted = (values - entry.offset) / entry.scale
    if entry.missing:
        with suppress(ValueError):  # a word cannot stand in a column of numbers
            converted = np.where(values == float(entry.missing), np.nan, converted)
    before = np.full(len(values), np.nan) if fallback is None else fallback
    chosen: FloatArray = np.where(since, converted, before)
    return chosen


def _renamed(words: Categories, entry: MappingEntry, since: BoolArray) -> Categories:
    """A column of words under the source's name; a word for "missing" becomes null."""
    if not entry.missing or entry.missing not in words.values:
        return words
    gone = since & (words.codes == words.values.index(entry.missing))
    return Categories(np.where(gone, np.int32(-1), words.codes).astype(np.int32), words.values)


def _reworded(words: Categories, window: Window, mappings: Sequence[AppliedMapping]) -> Categories:
    meant = Counter(one.entry.domain_category for one in mappings)
    values = list(words.values)
    place = {value: at for at, value in enumerate(values)}
    codes = words.codes.copy()
    for one in mappings:
        entry = one.entry
        if meant[entry.domain_category] > 1 or entry.domain_category not in words.values:
            continue
        if entry.category not in place:
            place[entry.category] = len(values)
            values.append(entry.category)
        here = words.codes == place[entry.domain_category]
        codes[here & _since(window, one.since_us)] = place[entry.category]
    return Categories(codes.astype(np.int32), tuple(values))
