"""RFC 3339 texts as microseconds since 1970 UTC, a column at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.records import BoolArray, IntArray

_UTC = pa.timestamp("us", tz="UTC")
_YEAR_1_US = -62_135_596_800_000_000
_FINER_THAN_US = r"(\.\d{6})\d{1,3}(Z|[+-]\d\d:?\d\d)$"


def parse_instants(texts: pa.Array) -> tuple[IntArray, BoolArray]:
    """Instants (n,) of texts (n,), and which of them were right; a wrong one is 0.

    A zone is required. Digits finer than a microsecond are cut off. A null is wrong.
    """
    try:
        parsed = texts.cast(_UTC)
    except pa.ArrowInvalid:
        parsed = _parse_one_by_one(texts)
    good = np.asarray(parsed.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
    ts_us = parsed.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    good &= ts_us >= _YEAR_1_US
    return np.where(good, ts_us, 0), good


def _parse_one_by_one(texts: pa.Array) -> pa.Array:
    """The slow way, taken only when one of the texts is wrong: each distinct text by itself."""
    cut = pc.replace_substring_regex(texts, _FINER_THAN_US, r"\1\2")
    coded = cut.dictionary_encode()
    parsed = [_parse(text) for text in coded.dictionary]
    return pa.array(parsed, pa.int64()).take(coded.indices).cast(_UTC)


def _parse(text: pa.Scalar) -> int | None:
    try:
        return int(text.cast(_UTC).value)
    except pa.ArrowInvalid:
        return None
