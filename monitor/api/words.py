"""What senders give for categories, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.records import Categories
from monitor.api.row_types import MISSING_WORD


def categories_of(column: Sequence[Any]) -> Categories:
    """Words (n,) as codes in order of first appearance; missing and null are -1.

    Numbers and booleans become their text.
    """
    distinct = dict.fromkeys(column)
    if not {type(word) for word in distinct} <= {str, type(None)}:
        column = [word_text(word) for word in column]
        distinct = dict.fromkeys(column)
    distinct.pop(None, None)
    distinct.pop(MISSING_WORD, None)
    index = {word: code for code, word in enumerate(distinct)}
    codes = map({**index, None: -1, MISSING_WORD: -1}.__getitem__, column)
    return Categories(np.fromiter(codes, np.int32, len(column)), tuple(distinct))


def word_text(value: object) -> str | None:
    """A category as text: 3 and 3.0 are "3", true is "true"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else str(value)
