"""Anchors, a probe and its scores as columns, checked once for files and for HTTP alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from detectors.records import FloatArray, Task, Window
from monitor.errors import InputError, did_you_mean
from monitor.files.tables import embedding_column
from monitor.ids import hash_texts
from storage.deployments import register_model
from storage.segments import Segment
from storage.version_rows import MOST_ROWS, VersionKind, add_version_rows

NEEDED = {
    VersionKind.ANCHORS: ("embedding",),
    VersionKind.PROBE: ("label",),
    VersionKind.PROBE_SCORES: ("score",),
}
TAKEN = {VersionKind.ANCHORS: ("label", "score")}
"""What each kind must have beside ids, and what it may have."""

NO_ROWS = f"0 rows; give 1 to {MOST_ROWS:,}"
MOST_ID_CHARACTERS = 200
MOST_DIMENSIONS = 8_192


@dataclass(frozen=True, slots=True, eq=False)
class GivenRows:
    """Ids (n,), and of each role the column that was given; null numbers are NaN."""

    ids: Sequence[str]
    embedding: NDArray[np.float32] | None = None
    label: FloatArray | None = None
    score: FloatArray | None = None


def read_rows(
    arrow: pa.Table, kind: VersionKind, columns: dict[str, str], *, source: str
) -> GivenRows:
    """The roles of a kind from a table; `columns` says which column holds which role.

    InputError where one is missing or holds something else.
    """
    names = arrow.schema.names
    if not arrow.num_rows:
        raise InputError(f"{source}: {NO_ROWS}")
    for role in ("id", *NEEDED[kind]):
        column = columns[role]
        if column not in names:
            has = ", ".join(names[:8])
            hint = did_you_mean(column, names)
            msg = f"{source}: no column '{column}' for --{role}; it has: {has}.{hint}"
            raise InputError(msg)
    wanted = {*NEEDED[kind], *TAKEN.get(kind, ())}
    present = {role: columns[role] for role in wanted if columns[role] in names}

    def numbers(role: str) -> FloatArray | None:
        if role not in present:
            return None
        try:
            column = arrow.column(present[role]).cast("double").to_numpy()
        except (pa.ArrowException, ValueError) as error:
            msg = f"{source}: --{role} {present[role]} does not hold numbers ({error})"
            raise InputError(msg) from error
        found: FloatArray = np.asarray(column, np.float64)
        return found

    return GivenRows(
        ids=[str(value) for value in arrow.column(columns["id"]).to_pylist()],
        embedding=embedding_column(arrow, present.get("embedding"), source),
        label=numbers("label"),
        score=numbers("score"),
    )


def check_rows(rows: GivenRows, kind: VersionKind, task: Task) -> None:
    """InputError in one line where a value means nothing; what is missing is no mistake."""
    long = next((one for one in rows.ids if not 0 < len(one) <= MOST_ID_CHARACTERS), None)
    if long is not None:
        msg = f"id '{long[:80]}' has {len(long)} characters; 1 to {MOST_ID_CHARACTERS} would do"
        raise InputError(msg)
    if rows.embedding is not None:
        if not 0 < rows.embedding.shape[1] <= MOST_DIMENSIONS:
            msg = f"embeddings of {rows.embedding.shape[1]:,} numbers; 1 to {MOST_DIMENSIONS:,}"
            raise InputError(msg)
        if not np.isfinite(rows.embedding).all():
            msg = "embedding holds values that are not finite; every anchor needs whole vectors"
            raise InputError(msg)
    for role, column in (("label", rows.label), ("score", rows.score)):
        if column is None:
            continue
        if role in NEEDED[kind] and not np.isfinite(column).any():
            msg = f"{role} has no number in any row; a {kind.value.replace('_', ' ')} needs some"
            raise InputError(msg)
        if np.isinf(column).any():
            msg = f"{role} holds infinity; leave what is missing null"
            raise InputError(msg)
        if task is Task.REGRESSION:
            continue
        known = column[np.isfinite(column)]
        good = np.isin(known, (0.0, 1.0)) if role == "label" else (known >= 0) & (known <= 1)
        if not good.all():
            allowed = "0 or 1" if role == "label" else "a number from 0 to 1"
            msg = f"{role} is {known[~good][0]:g} in some row; of a {task} task it is {allowed}"
            raise InputError(msg)


def store_rows(
    session: Session,
    model: str,
    kind: VersionKind,
    version: str,
    rows: GivenRows,
    *,
    task: Task,
    now: datetime,
) -> int:
    """Check the rows and store them for good; how many. A model that is new is registered.

    InputError as `check_rows`, VersionRowsError as `add_version_rows`.
    """
    segment = segment_of(model, kind, rows, task=task)
    register_model(session, model, now)
    return add_version_rows(session, model, kind, version, segment, now)


def segment_of(model: str, kind: VersionKind, rows: GivenRows, *, task: Task) -> Segment:
    """The rows as they are stored, in the order given; InputError as `check_rows`."""
    check_rows(rows, kind, task)
    hi, lo = hash_texts(model, rows.ids)
    window = Window(
        rows=len(rows.ids), label=rows.label, score=rows.score, embedding=rows.embedding
    )
    return Segment(window, hi, lo, np.zeros(len(rows.ids), np.bool_))
