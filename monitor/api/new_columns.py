"""Features that a model's schema lacks, as they come: kept as columns, so that they can be watched.

What is kept never costs a row: a value that no column can hold is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from detectors.records import Categories, FloatArray, IntArray
from monitor.api.arrow_columns import categories, is_number, is_text, numbers, value_type
from monitor.api.limits import MAX_TEXT_CHARACTERS
from monitor.api.words import categories_of
from monitor.files.roles import may_be_new

Admit = Callable[[Sequence[str]], frozenset[str]]
"""Which of some names may be kept."""


@dataclass(frozen=True, slots=True)
class NewColumns:
    """Columns (n,) that the schema lacks, by name."""

    numeric: Mapping[str, FloatArray] = field(default_factory=dict)
    categorical: Mapping[str, Categories] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.numeric, *self.categorical))

    def take(self, rows: IntArray) -> NewColumns:
        """The rows at an index, in that order."""
        return NewColumns(
            {name: column[rows] for name, column in self.numeric.items()},
            {name: column.take(rows) for name, column in self.categorical.items()},
        )


def new_of_rows(unknown: Sequence[Mapping[str, Any]], admit: Admit) -> NewColumns:
    """The features (n,) that JSON rows have besides the schema's: numbers, texts and booleans.

    Values may be raw JSON. A feature that is a list or an object somewhere is no column.
    """
    numeric: dict[str, FloatArray] = {}
    categorical: dict[str, Categories] = {}
    first = {name: value for row in reversed(unknown) for name, value in row.items()}
    for name in _admitted([n for n, value in first.items() if not _is_nested(value)], admit):
        values = [row.get(name) for row in unknown]
        kinds = set(map(type, values)) - {type(None)}
        if not kinds <= {int, float, bool, str}:
            values = [_plain(value) for value in values]
            kinds = set(map(type, values)) - {type(None)}
        if not kinds or kinds & {list, dict}:
            continue
        if kinds <= {int, float}:
            numeric[name] = _numbers(values)
        else:
            categorical[name] = _short(categories_of(values))
    return NewColumns(numeric, categorical)


def new_of_table(table: pa.Table, names: Sequence[str], admit: Admit) -> NewColumns:
    """The same of the Arrow columns `names`, by their types; other types are left out."""
    numeric: dict[str, FloatArray] = {}
    categorical: dict[str, Categories] = {}
    for name in _admitted([name for name in names if _holds_plain(table.column(name))], admit):
        column = table.column(name)
        if is_number(value_type(column)):
            values, wrong = numbers(column, lenient=True)
            numeric[name] = np.where(wrong, np.nan, values)
        else:
            categorical[name] = _short(categories(column))
    return NewColumns(numeric, categorical)


def first_by_name(most: int) -> Admit:
    """What is let in where nothing is known of other bodies."""
    return lambda names: frozenset(sorted(names)[:most])


def _admitted(names: Sequence[str], admit: Admit) -> list[str]:
    return sorted(admit([name for name in names if may_be_new(name)]))


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict) or (
        isinstance(value, msgspec.Raw) and bytes(memoryview(value)[:1]) in (b"[", b"{")
    )


def _holds_plain(column: pa.ChunkedArray) -> bool:
    """Whether an Arrow column holds numbers, texts or booleans, and not nulls alone."""
    kind = value_type(column)
    plain = is_number(kind) or is_text(kind) or pa.types.is_boolean(kind)
    return bool(plain and column.null_count < len(column))


def _plain(value: Any) -> Any:
    """A value as Python has it; None for what no column can hold."""
    if isinstance(value, msgspec.Raw):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    return value if isinstance(value, bool | int | float | str | list | dict) else None


def _numbers(values: Sequence[float | None]) -> FloatArray:
    """Numbers (n,), NaN for null and for what is too large for a double."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        numbers = np.array([_number(value) for value in values])
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _number(value: float | None) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.nan


def _is_word(text: str) -> bool:
    """Whether a text can be a category: not too long, without a NUL, of valid Unicode."""
    if len(text) > MAX_TEXT_CHARACTERS or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(words: Categories) -> Categories:
    """The column with what cannot be a category as null."""
    good = [_is_word(word) for word in words.values]
    if all(good):
        return words
    lost = np.array([not kept for kept in [*good, True]])
    return Categories(np.where(lost[words.codes], np.int32(-1), words.codes), words.values)
