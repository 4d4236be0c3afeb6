"""Reference windows: frozen, versioned, with a role. Promoted, retired, never overwritten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from detectors.records import Deployment, Schema, Window, concat_windows
from storage.changes import REFERENCES, note_changes
from storage.deployments import lock_model
from storage.engine import insert_into
from storage.schemas import schema_from_json, schema_to_json
from storage.segments import decode_window, encode_window
from storage.tables import ReferenceChunkRow, ReferenceProfileRow, ReferenceRow

CHUNK_ROWS = 65_536
EVERY_DOMAIN = ""


class Role(StrEnum):
    """What a reference stands for."""

    SOURCE = "source"
    ONBOARDING = "onboarding"
    RECENT = "recent"


class ReferenceStatus(StrEnum):
    """Pending: waits for a person. Active: compared with. Retired: kept to read old verdicts."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRED = "retired"


class UnknownReferenceError(LookupError):
    """No reference has this id."""


class ReferenceStateError(ValueError):
    """The reference is not in a state in which this can be done."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference without its rows. `domain` None: for every domain of the model."""

    id: int
    model: str
    domain: str | None
    role: Role
    version: int
    status: ReferenceStatus
    rows: int
    since_us: int | None
    until_us: int | None
    schema: Schema
    note: str
    created_at: datetime
    approved_at: datetime | None
    approved_by: str
    activated_at: datetime | None
    retired_at: datetime | None


def add_reference(
    session: Session,
    model: str,
    domain: str | None,
    role: Role,
    window: Window,
    schema: Schema,
    now: datetime,
    *,
    note: str = "",
    activate: bool = True,
) -> Reference:
    """Store rows as the next version of a role, active at once or waiting for a person.

    The version active before is retired, its rows stay. UnknownModelError if the model is not
    registered; ValueError for a window without rows.
    """
    if not window.rows:
        msg = f"a reference without rows for {model}/{domain or '*'}; give at least one"
        raise ValueError(msg)
    lock_model(session, model)
    place = (
        ReferenceRow.model == model,
        ReferenceRow.domain == (domain or EVERY_DOMAIN),
        ReferenceRow.role == role,
    )
    newest = session.scalar(select(func.max(ReferenceRow.version)).where(*place)) or 0
    timed = window.ts_us is not None
    row = ReferenceRow(
        model=model,
        domain=domain or EVERY_DOMAIN,
        role=role,
        version=newest + 1,
        status=ReferenceStatus.PENDING,
        rows=window.rows,
        since_us=int(window.ts_us.min()) if timed and window.ts_us is not None else None,
        until_us=int(window.ts_us.max()) if timed and window.ts_us is not None else None,
        schema=schema_to_json(schema),
        note=note,
        created_at=now,
        approved_by="",
    )
    session.add(row)
    session.flush()
    for number, start in enumerate(range(0, window.rows, CHUNK_ROWS)):
        part = window.take(slice(start, start + CHUNK_ROWS))
        session.add(
            ReferenceChunkRow(
                reference_id=row.id, number=number, rows=part.rows, body=encode_window(part)
            )
        )
        session.flush()
    if activate:
        return promote(session, row.id, now)
    return _reference(row)


def approve(session: Session, reference_id: int, by: str, now: datetime) -> Reference:
    """Note who has looked at a pending reference and found it good, then make it active."""
    row = _row(session, reference_id)
    if row.status != ReferenceStatus.PENDING:
        msg = f"reference {reference_id} is {row.status}; only a pending one can be approved"
        raise ReferenceStateError(msg)
    row.approved_at = now
    row.approved_by = by
    return promote(session, reference_id, now)


def promote(session: Session, reference_id: int, now: datetime) -> Reference:
    """Make this version the active one of its role; the one before is retired.

    Also brings a retired version back. Does nothing where it is active.
    """
    row = _row(session, reference_id)
    if row.status == ReferenceStatus.ACTIVE:
        return _reference(row)
    session.execute(
        update(ReferenceRow)
        .where(
            ReferenceRow.model == row.model,
            ReferenceRow.domain == row.domain,
            ReferenceRow.role == row.role,
            ReferenceRow.status == ReferenceStatus.ACTIVE,
        )
        .values(status=ReferenceStatus.RETIRED, retired_at=now)
    )
    row.status = ReferenceStatus.ACTIVE
    row.activated_at = now
    row.retired_at = None
    note_changes(session, [REFERENCES])
    session.flush()
    return _reference(row)


def get_reference(session: Session, reference_id: int) -> Reference:
    """One reference without its rows; UnknownReferenceError."""
    return _reference(_row(session, reference_id, lock=False))


def list_references(
    session: Session, model: str | None = None, domain: str | None = None
) -> tuple[Reference, ...]:
    """References by model, domain, role and version. With a domain also those for every domain."""
    query = select(ReferenceRow).order_by(
        ReferenceRow.model, ReferenceRow.domain, ReferenceRow.role, ReferenceRow.version
    )
    if model is not None:
        query = query.where(ReferenceRow.model == model)
    if domain is not None:
        query = query.where(ReferenceRow.domain.in_([domain, EVERY_DOMAIN]))
    return tuple(_reference(row) for row in session.scalars(query))


def active_reference(session: Session, deployment: Deployment, role: Role) -> Reference | None:
    """The reference a deployment is compared with: its own, else the one for every domain."""
    query = (
        select(ReferenceRow)
        .where(
            ReferenceRow.model == deployment.model,
            ReferenceRow.domain.in_([deployment.domain, EVERY_DOMAIN]),
            ReferenceRow.role == role,
            ReferenceRow.status == ReferenceStatus.ACTIVE,
        )
        .order_by(ReferenceRow.domain == EVERY_DOMAIN)
        .limit(1)
    )
    row = session.scalar(query)
    return None if row is None else _reference(row)


def load_reference_rows(session: Session, reference_id: int, max_rows: int | None = None) -> Window:
    """The rows as they were added, or the first `max_rows`; UnknownReferenceError."""
    _row(session, reference_id, lock=False)
    numbers = session.execute(
        select(ReferenceChunkRow.number, ReferenceChunkRow.rows)
        .where(ReferenceChunkRow.reference_id == reference_id)
        .order_by(ReferenceChunkRow.number)
    ).all()
    parts = []
    left = sum(rows for _, rows in numbers) if max_rows is None else max_rows
    for number, rows in numbers:
        if left <= 0:
            break
        body = session.scalar(
            select(ReferenceChunkRow.body).where(
                ReferenceChunkRow.reference_id == reference_id, ReferenceChunkRow.number == number
            )
        )
        assert body is not None
        window = decode_window(body)
        parts.append(window if rows <= left else window.take(slice(0, left)))
        left -= rows
    return concat_windows(parts)


def save_profile(
    session: Session, reference_id: int, fingerprint: str, body: bytes, now: datetime
) -> None:
    """Keep a fitted profile. One with the same fingerprint is there already and stays."""
    statement = insert_into(session, ReferenceProfileRow).values(
        reference_id=reference_id, fingerprint=fingerprint, body=body, created_at=now
    )
    session.execute(statement.on_conflict_do_nothing())


def load_profile(
    session: Session, reference_id: int, fingerprint: str | None = None
) -> bytes | None:
    """The profile with this fingerprint, or the one fitted last; None if there is none."""
    query = select(ReferenceProfileRow.body).where(ReferenceProfileRow.reference_id == reference_id)
    if fingerprint is not None:
        query = query.where(ReferenceProfileRow.fingerprint == fingerprint)
    return session.scalar(query.order_by(ReferenceProfileRow.created_at.desc()).limit(1))


def _row(session: Session, reference_id: int, *, lock: bool = True) -> ReferenceRow:
    row = session.get(ReferenceRow, reference_id, with_for_update=lock or None)
    if row is None:
        msg = f"no reference {reference_id}; `kedge reference list` shows those there are"
        raise UnknownReferenceError(msg)
    return row


def _reference(row: ReferenceRow) -> Reference:
    return Reference(
        id=row.id,
        model=row.model,
        domain=row.domain or None,
        role=Role(row.role),
        version=row.version,
        status=ReferenceStatus(row.status),
        rows=row.rows,
        since_us=row.since_us,
        until_us=row.until_us,
        schema=schema_from_json(row.schema),
        note=row.note,
        created_at=row.created_at,
        approved_at=row.approved_at,
        approved_by=row.approved_by,
        activated_at=row.activated_at,
        retired_at=row.retired_at,
    )
