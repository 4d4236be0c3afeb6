"""Runs of 128-bit event ids sorted by hash, and finding ids in them.

An id is two uint64 halves, `hi` and `lo`. A run is sorted by `hi` and may carry columns besides.
Stored, it is its columns one behind the other, little-endian, without a header: the row beside
it in the database says how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.records import BoolArray, IntArray

IdArray: TypeAlias = NDArray[np.uint64]
Column: TypeAlias = NDArray[Any]

ID_COLUMNS = ("<u8", "<u8")
LABEL_COLUMNS = ("<u8", "<u8", "<f8", "<i8")
"""Id, label, and when the label became known (microseconds since 1970 UTC)."""

_GROWTH = 4


def encode_run(columns: Sequence[Column], dtypes: Sequence[str]) -> bytes:
    """Columns of equal length as bytes."""
    return b"".join(
        np.ascontiguousarray(column, dtype=dtype).tobytes()
        for column, dtype in zip(columns, dtypes, strict=True)
    )


def decode_run(body: bytes, rows: int, dtypes: Sequence[str]) -> tuple[Column, ...]:
    """The columns of `encode_run`, read-only views; ValueError if the length does not fit."""
    expected = rows * sum(np.dtype(dtype).itemsize for dtype in dtypes)
    if len(body) != expected:
        msg = f"a run of {rows} rows has {len(body)} bytes where {expected} were written"
        raise ValueError(msg)
    columns = []
    offset = 0
    for dtype in dtypes:
        columns.append(np.frombuffer(body, dtype, rows, offset))
        offset += rows * np.dtype(dtype).itemsize
    return tuple(columns)


def sort_run(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Columns (hi, lo, …) in the order of (hi, lo); equal ids keep their order."""
    order = np.lexsort((columns[1], columns[0]))
    return tuple(column[order] for column in columns)


def repeats(hi: IdArray, lo: IdArray) -> BoolArray:
    """(n,) True where the same id stands earlier in the same batch."""
    order = np.lexsort((lo, hi))
    same = (hi[order][1:] == hi[order][:-1]) & (lo[order][1:] == lo[order][:-1])
    repeated = np.zeros(len(hi), np.bool_)
    repeated[order[1:][same]] = True
    return repeated


def locate(run_hi: IdArray, run_lo: IdArray, hi: IdArray, lo: IdArray) -> IntArray:
    """(n,) where each id first stands in a run sorted by `hi`, or -1."""
    place = np.searchsorted(run_hi, hi)
    found = np.full(len(hi), -1, np.int64)
    open_rows = np.arange(len(hi))
    # One turn, unless two different ids share all 64 bits of `hi`.
    while len(open_rows):
        at = place[open_rows]
        inside = at < len(run_hi)
        open_rows, at = open_rows[inside], at[inside]
        same_hi = run_hi[at] == hi[open_rows]
        open_rows, at = open_rows[same_hi], at[same_hi]
        match = run_lo[at] == lo[open_rows]
        found[open_rows[match]] = at[match]
        open_rows = open_rows[~match]
        place[open_rows] += 1
    return found


def merge_runs(runs: Sequence[tuple[Column, ...]]) -> tuple[Column, ...]:
    """One run out of several; equal ids stay in the order of the runs."""
    joined = tuple(np.concatenate(columns) for columns in zip(*runs, strict=True))
    # A stable sort is a merge on rows that are already sorted in pieces.
    order = np.argsort(joined[0], kind="stable")
    return tuple(column[order] for column in joined)


@dataclass(slots=True)
class SortedRuns:
    """Ids that only grow. A few runs of falling size, so that adding stays cheap."""

    runs: list[tuple[Column, ...]] = field(default_factory=list)
    rows: int = 0

    def add(self, columns: tuple[Column, ...]) -> None:
        """Take in a sorted run. Costs O(log n) a row over time."""
        self.runs.append(columns)
        self.rows += len(columns[0])
        while len(self.runs) > 1 and len(self.runs[-2][0]) <= _GROWTH * len(self.runs[-1][0]):
            last = self.runs.pop()
            self.runs[-1] = merge_runs([self.runs[-1], last])

    def contains(self, hi: IdArray, lo: IdArray) -> BoolArray:
        """(n,) True where the id is here."""
        known = np.zeros(len(hi), np.bool_)
        for run in self.runs:
            known |= locate(run[0], run[1], hi, lo) >= 0
        return known

    def look_up(self, hi: IdArray, lo: IdArray, column: int) -> tuple[BoolArray, Column]:
        """Where an id is here (n,), and the earliest added value of a column for it (n,)."""
        known = np.zeros(len(hi), np.bool_)
        values = np.zeros(len(hi), self.runs[0][column].dtype if self.runs else np.float64)
        for run in self.runs:
            at = locate(run[0], run[1], hi, lo)
            fresh = (at >= 0) & ~known
            values[fresh] = run[column][at[fresh]]
            known |= fresh
        return known, values
