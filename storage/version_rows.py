"""Anchors and the source probe, version by version. What is stored is never overwritten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from detectors.records import Window
from storage.changes import REFERENCES, note_changes
from storage.deployments import lock_model
from storage.segments import Segment, decode, encode
from storage.tables import VersionRowsRow

MOST_ROWS = 20_000


class VersionKind(StrEnum):
    """Anchors: embedded by a version. Probe: labels, once a model. Scores: of a version."""

    ANCHORS = "anchors"
    PROBE = "probe"
    PROBE_SCORES = "probe_scores"


class VersionRowsError(ValueError):
    """The rows cannot be stored: a repeated id, too many rows, a probe that is not there."""


class VersionStoredError(VersionRowsError):
    """The version is there already; `same` where it holds these very rows."""

    def __init__(self, message: str, *, same: bool) -> None:
        super().__init__(message)
        self.same = same


@dataclass(frozen=True, slots=True, eq=False)
class VersionRows:
    """Rows sorted by id hash, so that two versions meet row by row."""

    version: str
    segment: Segment


def add_version_rows(
    session: Session,
    model: str,
    kind: VersionKind,
    version: str,
    rows: Segment,
    now: datetime,
) -> int:
    """Store rows of a version; how many. UnknownModelError if the model is not registered.

    VersionRowsError where an id comes twice, there are too many rows, or scores are of rows that
    the probe has not; VersionStoredError where the version is there already.
    """
    lock_model(session, model)
    rows = in_order(rows)
    place = (
        VersionRowsRow.model == model,
        VersionRowsRow.kind == kind.value,
        VersionRowsRow.version == version,
    )
    body = encode(rows)
    there = session.scalar(select(VersionRowsRow.body).where(*place))
    if there is not None:
        what = "the probe" if kind is VersionKind.PROBE else f"version '{version}'"
        msg = f"{kind.value} of {what} of '{model}' are stored already and are never overwritten"
        raise VersionStoredError(msg, same=bytes(there) == body)
    if kind is VersionKind.PROBE_SCORES:
        (probe,) = read_version_rows(session, model, VersionKind.PROBE) or (None,)
        if probe is None:
            msg = f"'{model}' has no probe set; add one with `kedge probe add FILE --model {model}`"
            raise VersionRowsError(msg)
        refuse_strangers(rows, probe.segment)
    session.add(
        VersionRowsRow(
            model=model,
            kind=kind.value,
            version=version,
            rows=rows.window.rows,
            created_at=now,
            body=body,
        )
    )
    note_changes(session, [REFERENCES])
    session.flush()
    return rows.window.rows


def in_order(rows: Segment) -> Segment:
    """Rows of a version sorted by id hash; VersionRowsError if an id is twice, or too many rows."""
    rows = rows.take(np.lexsort((rows.id_lo, rows.id_hi)))
    keys = _keys(rows)
    if len(set(keys)) < len(keys):
        msg = f"{len(keys) - len(set(keys))} ids come twice; every row needs an id of its own"
        raise VersionRowsError(msg)
    if not 0 < len(keys) <= MOST_ROWS:
        msg = f"{len(keys):,} rows; give 1 to {MOST_ROWS:,}"
        raise VersionRowsError(msg)
    return rows


def refuse_strangers(scores: Segment, probe: Segment) -> None:
    """VersionRowsError where scores are of rows that the probe has not."""
    mine = set(_keys(scores))
    strange = len(mine - set(_keys(probe)))
    if strange:
        msg = f"{strange} of {len(mine)} ids are not in the probe set; score those of it"
        raise VersionRowsError(msg)


def _keys(rows: Segment) -> list[tuple[int, int]]:
    return list(zip(rows.id_hi.tolist(), rows.id_lo.tolist(), strict=True))


def read_version_rows(session: Session, model: str, kind: VersionKind) -> tuple[VersionRows, ...]:
    """Every version of a kind, the first stored first."""
    rows = session.scalars(
        select(VersionRowsRow)
        .where(VersionRowsRow.model == model, VersionRowsRow.kind == kind.value)
        .order_by(VersionRowsRow.id)
    )
    return tuple(VersionRows(row.version, decode(row.body)) for row in rows)


def count_versions(session: Session) -> dict[str, dict[str, int]]:
    """How many versions of each kind each model has, by model and kind."""
    found = session.execute(
        select(VersionRowsRow.model, VersionRowsRow.kind, func.count()).group_by(
            VersionRowsRow.model, VersionRowsRow.kind
        )
    )
    counts: dict[str, dict[str, int]] = {}
    for model, kind, count in found:
        counts.setdefault(model, {})[kind] = count
    return counts


def in_common(one: Segment, other: Segment) -> tuple[Window, Window]:
    """The rows of both whose ids are in both, in one order."""
    place = {key: at for at, key in enumerate(_keys(other))}
    pairs = [(at, place[key]) for at, key in enumerate(_keys(one)) if key in place]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return one.window.take(both[:, 0]), other.window.take(both[:, 1])
