"""A window and the ids of its rows as one compressed Arrow IPC stream, and back, bit for bit.

Fields are named by role and name ("numeric:age"), so that no column name can collide with a
role. Missing numbers stay NaN, without a null bitmap; categories are dictionary-encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.records import BoolArray, Categories, CodeArray, Window
from storage.runs import IdArray

_ARRAYS = (
    "ts_us",
    "score",
    "baseline_score",
    "head_score",
    "full_score",
    "label",
    "label_ts_us",
    "weight",
)
_CODES = ("prediction", "truth", "domain", "version", "arm", "cluster")
# Threads cost more than they save on columns of some kilobytes.
_WRITE = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Rows with their ids (n,) and whether each came late (n,)."""

    window: Window
    id_hi: IdArray
    id_lo: IdArray
    late: BoolArray

    def take(self, rows: NDArray[np.int64] | BoolArray) -> Segment:
        """The rows at an index or mask."""
        return Segment(self.window.take(rows), self.id_hi[rows], self.id_lo[rows], self.late[rows])


def encode(segment: Segment) -> bytes:
    """A segment as bytes. UnicodeEncodeError for text that is not valid Unicode."""
    fields: dict[str, pa.Array] = {
        "id_hi": pa.array(segment.id_hi),
        "id_lo": pa.array(segment.id_lo),
        "late": pa.array(segment.late.view(np.uint8)),
    }
    return _write(fields | _fields(segment.window), segment.window.rows)


def decode(body: bytes | memoryview) -> Segment:
    """A segment from bytes; its arrays are read-only. ValueError if they are not one."""
    return _segment(_read(body))


@dataclass(frozen=True, slots=True)
class Span:
    """Which rows are wanted: since <= ts < until, of one domain or (None) of all."""

    since_us: int
    until_us: int
    include_late: bool = False
    domain: str | None = None


def open_body(body: bytes | memoryview) -> pa.RecordBatch:
    """A stored segment as Arrow sees it, for `wanted` and `gather`. ValueError if it is not one."""
    return _read(body)


def wanted(batch: pa.RecordBatch, span: Span) -> pa.RecordBatch:
    """The rows of an opened segment that a span asks for."""
    ts_us = batch.column("ts_us").to_numpy()
    mask: BoolArray = (ts_us >= span.since_us) & (ts_us < span.until_us)
    if not span.include_late:
        mask &= batch.column("late").to_numpy() == 0
    if span.domain is not None:
        domain = batch.column("domain")
        mask &= domain.indices.to_numpy() == domain.dictionary.to_pylist().index(span.domain)
    if mask.all():
        return batch
    # As an index: a mask would be looked through once a column.
    return batch.take(pa.array(np.flatnonzero(mask)))


def gather(batches: Sequence[pa.RecordBatch]) -> Iterator[Segment]:
    """Opened segments joined row after row: one for each run of batches with the same columns.

    Arrow joins columns and vocabularies, which is many times cheaper than one by one in Python.
    """
    for _, run in groupby(batches, key=lambda batch: [*map(str, batch.schema)]):
        plain = [batch.replace_schema_metadata(None) for batch in run]
        table = pa.Table.from_batches(plain).unify_dictionaries().combine_chunks()
        (joined,) = table.to_batches() or [plain[0]]
        yield _segment(joined)


def encode_window(window: Window) -> bytes:
    """Rows without ids, as references keep them."""
    return _write(_fields(window), window.rows)


def decode_window(body: bytes | memoryview) -> Window:
    """The rows of `encode_window` or `encode`."""
    return _window(_read(body))


def _segment(batch: pa.RecordBatch) -> Segment:
    return Segment(
        window=_window(batch),
        id_hi=batch.column("id_hi").to_numpy(),
        id_lo=batch.column("id_lo").to_numpy(),
        late=batch.column("late").to_numpy().view(np.bool_),
    )


def _write(fields: dict[str, pa.Array], rows: int) -> bytes:
    schema = pa.schema(
        [pa.field(name, array.type) for name, array in fields.items()],
        metadata={"rows": str(rows)},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_WRITE) as writer:
        # A batch without columns has no length of its own; `rows` above carries it.
        writer.write_batch(pa.RecordBatch.from_arrays(list(fields.values()), schema=schema))
    taken: bytes = sink.getvalue().to_pybytes()
    return taken


def _read(body: bytes | memoryview) -> pa.RecordBatch:
    try:
        with pa.ipc.open_stream(pa.py_buffer(body), options=_READ) as reader:
            return reader.read_next_batch()
    except (pa.ArrowInvalid, OSError, StopIteration) as error:
        msg = f"a stored segment cannot be read: {error}"
        raise ValueError(msg) from error


def _fields(window: Window) -> dict[str, pa.Array]:
    fields: dict[str, pa.Array] = {}
    for name in _ARRAYS:
        array = getattr(window, name)
        if array is not None:
            fields[name] = pa.array(array)
    for name in _CODES:
        column = getattr(window, name)
        if column is not None:
            fields[name] = _dictionary(column)
    for name, numbers in window.numeric.items():
        fields[f"numeric:{name}"] = pa.array(numbers)
    for name, column in window.categorical.items():
        fields[f"categorical:{name}"] = _dictionary(column)
    if window.embedding is not None:
        flat = pa.array(np.ascontiguousarray(window.embedding).reshape(-1))
        fields["embedding"] = pa.FixedSizeListArray.from_arrays(flat, window.embedding.shape[1])
    return fields


def _dictionary(column: Categories) -> pa.DictionaryArray:
    codes, values = column.codes, column.values
    if len(values) > len(codes):
        # A small batch cut from rows with a large vocabulary need not carry all of it.
        codes, values = _used(codes, values)
    missing = codes < 0
    indices = pa.array(codes, mask=missing) if missing.any() else pa.array(codes)
    return pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string()))


def _used(codes: CodeArray, values: tuple[str, ...]) -> tuple[CodeArray, tuple[str, ...]]:
    present = np.unique(codes[codes >= 0])
    mapping = np.full(len(values) + 1, -1, np.int32)  # the last place takes code -1
    mapping[present] = np.arange(len(present), dtype=np.int32)
    return mapping[codes], tuple(values[code] for code in present)


def _window(batch: pa.RecordBatch) -> Window:
    numeric = {}
    categorical = {}
    arrays = {}
    codes = {}
    embedding = None
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        role, _, label = name.partition(":")
        if role == "numeric":
            numeric[label] = column.to_numpy()
        elif role == "categorical":
            categorical[label] = _categories(column)
        elif name in _ARRAYS:
            arrays[name] = column.to_numpy()
        elif name in _CODES:
            codes[name] = _categories(column)
        elif name == "embedding":
            width = column.type.list_size
            embedding = column.flatten().to_numpy().reshape(len(column), width)
    return Window(
        rows=int((batch.schema.metadata or {}).get(b"rows", batch.num_rows)),
        ts_us=arrays.get("ts_us"),
        score=arrays.get("score"),
        baseline_score=arrays.get("baseline_score"),
        head_score=arrays.get("head_score"),
        full_score=arrays.get("full_score"),
        label=arrays.get("label"),
        label_ts_us=arrays.get("label_ts_us"),
        weight=arrays.get("weight"),
        prediction=codes.get("prediction"),
        truth=codes.get("truth"),
        domain=codes.get("domain"),
        version=codes.get("version"),
        arm=codes.get("arm"),
        cluster=codes.get("cluster"),
        numeric=numeric,
        categorical=categorical,
        embedding=embedding,
    )


def _categories(column: pa.DictionaryArray) -> Categories:
    indices = column.indices
    codes = (indices.fill_null(-1) if indices.null_count else indices).to_numpy()
    return Categories(codes, tuple(column.dictionary.to_pylist()))
