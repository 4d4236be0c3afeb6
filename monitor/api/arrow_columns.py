"""One Arrow column as NumPy: strict about types and about what counts as missing.

`lenient` is for pull sources, whose types were guessed by a reader of files or chosen by a
database: there NaN means missing and numbers may be written as text.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.records import BoolArray, Categories, FloatArray
from monitor.api.words import word_text


class ColumnTypeError(ValueError):
    """A column whose type cannot be what it has to be."""


def value_type(column: pa.ChunkedArray) -> pa.DataType:
    """The type of the values, behind a dictionary."""
    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text of any width."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether a type is a number; booleans are none."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def numbers(column: pa.ChunkedArray, *, lenient: bool = False) -> tuple[FloatArray, BoolArray]:
    """Values (n,) as float64 with NaN for null, and which rows hold no finite number.

    Raises:
        ColumnTypeError: if the column's type is no number.
    """
    kind = value_type(column)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan), np.zeros(len(column), np.bool_)
    if pa.types.is_dictionary(column.type):
        column = _decoded(column)
    if is_text(kind) and lenient:
        return _numbers_from_text(column)
    if not is_number(kind):
        raise ColumnTypeError(f"holds {kind}; cast it to a number")
    values = np.asarray(
        column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64
    )
    wrong = ~np.isfinite(values)
    if not wrong.any():
        return values, wrong
    null = np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
    wrong &= ~null
    if lenient:
        wrong &= ~np.isnan(values)
    return values, wrong


def _numbers_from_text(column: pa.ChunkedArray) -> tuple[FloatArray, BoolArray]:
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    number = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    unsigned = pc.replace_substring_regex(text, r"^\+", "")
    parsed = pc.if_else(number, unsigned, pa.scalar(None, pa.string())).cast(pa.float64())
    values = np.asarray(parsed.to_numpy(zero_copy_only=False), dtype=np.float64)
    missing = pc.or_(text.is_null(), pc.is_in(text, pa.array(["", "NaN", "nan", "null", "NULL"])))
    null = np.asarray(missing.to_numpy(zero_copy_only=False), dtype=np.bool_)
    return values, ~np.isfinite(values) & ~null


def categories(column: pa.ChunkedArray) -> Categories:
    """Text, whole numbers or booleans (n,) as codes; null is -1.

    Raises:
        ColumnTypeError: if the column's type is none of these.
    """
    kind = value_type(column)
    if pa.types.is_null(kind):
        return Categories(np.full(len(column), -1, np.int32), ())
    if not (is_text(kind) or is_number(kind) or pa.types.is_boolean(kind)):
        raise ColumnTypeError(f"holds {kind}; cast it to text")
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    joined = column.unify_dictionaries().combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = joined.chunk(0) if joined.num_chunks else pa.array([], column.type)
    codes = joined.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
    words = [word_text(value) for value in joined.dictionary.to_pylist()]
    return _distinct(codes.astype(np.int32, copy=False), words)


def _distinct(codes: NDArray[np.int32], words: list[str | None]) -> Categories:
    """The column with every value once: a dictionary on the wire may repeat, or hold null."""
    index: dict[str, int] = {}
    place = [-1 if word is None else index.setdefault(word, len(index)) for word in words]
    if place == list(range(len(words))):
        return Categories(codes, tuple(index))
    return Categories(np.array([*place, -1], dtype=np.int32)[codes], tuple(index))


def texts(column: pa.ChunkedArray) -> list[str | None]:
    """Ids (n,): text or whole numbers as text.

    Raises:
        ColumnTypeError: if the column's type is neither.
    """
    kind = value_type(column)
    if pa.types.is_dictionary(column.type):
        column = _decoded(column)
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise ColumnTypeError(f"holds {kind}; cast it to text")
    listed: list[str | None] = column.cast(pa.string()).to_pylist()
    return listed


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary column as plain values, unless long texts would be repeated without end."""
    kind = column.type.value_type
    if is_text(kind):
        longest = max(
            (
                pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
                for chunk in column.chunks
                if len(chunk.dictionary)
            ),
            default=0,
        )
        if longest * len(column) > 2**28:
            raise ColumnTypeError("holds texts too long to be repeated; send shorter ones")
    return column.cast(kind)


def vectors(column: pa.ChunkedArray, dimension: int) -> tuple[NDArray[np.float32], BoolArray]:
    """Embeddings (n, dimension) with NaN for null, and which rows have another length.

    Raises:
        ColumnTypeError: if the column holds no lists of numbers.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return np.full((len(column), dimension), np.nan, np.float32), np.zeros(
            len(column), np.bool_
        )
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not (listed or pa.types.is_fixed_size_list(kind)) or not is_number(kind.value_type):
        raise ColumnTypeError(f"holds {kind}; send lists of {dimension} numbers")
    if not listed:
        column = column.cast(pa.list_(kind.value_type))
    sizes = pc.list_value_length(column)
    null = np.asarray(sizes.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
    wrong = (sizes.fill_null(dimension).to_numpy(zero_copy_only=False) != dimension) & ~null
    whole = np.full((len(column), dimension), np.nan, np.float32)
    right = ~null & ~wrong
    flat = pc.list_flatten(column.filter(pa.array(right)))
    values = flat.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    whole[right] = values.reshape(-1, dimension)
    return whole, wrong
