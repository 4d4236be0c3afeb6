"""Mappings in versions. Of two people who decide at once one is told that the other was faster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from alerts.mappings import MappingStatus, MappingVersion
from detectors.records import Deployment
from storage.engine import insert_into, rows_changed
from storage.tables import MappingRow


class UnknownMappingError(LookupError):
    """No mapping has this id."""


class MappingStateError(ValueError):
    """Somebody has decided on this version, or a newer one has taken its place."""


class MappingExistsError(ValueError):
    """Another process has made this very version meanwhile."""


def add_versions(session: Session, versions: Iterable[MappingVersion]) -> None:
    """Store new versions. Proposals of the same mapping that still wait are superseded.

    MappingExistsError if a version with this number is there already: nothing of it is changed,
    and the whole transaction should be done again from what is stored now.
    """
    for version in versions:
        entry = version.entry
        insert = insert_into(session, MappingRow).values(
            id=version.id,
            model=version.deployment.model,
            domain=version.deployment.domain,
            column=entry.column,
            category=entry.category,
            version=version.version,
            status=version.status.value,
            created_at=version.created_at,
            created_by=version.created_by,
            decided_by="",
            reason="",
            record=msgspec.json.encode(version).decode(),
        )
        if rows_changed(session, insert.on_conflict_do_nothing()) == 0:
            msg = f"mapping {version.id} was made by another process meanwhile"
            raise MappingExistsError(msg)
        _supersede(session, version, MappingStatus.PROPOSED)


def decide_mapping(
    session: Session,
    mapping_id: str,
    status: MappingStatus,
    *,
    by: str,
    reason: str,
    now: datetime,
) -> MappingVersion:
    """Approve or reject a version that waits; only one of two who try at once succeeds.

    Approving supersedes the version approved before. UnknownMappingError; MappingStateError with
    who decided what and when.
    """
    decide = (
        update(MappingRow)
        .where(MappingRow.id == mapping_id, MappingRow.status == MappingStatus.PROPOSED.value)
        .values(status=status.value, decided_at=now, decided_by=by, reason=reason)
    )
    get_mapping(session, mapping_id)  # a tenant who does not find it changes nothing either
    won = rows_changed(session, decide) == 1
    found = get_mapping(session, mapping_id)
    if not won:
        who = f" by {found.decided_by}" if found.decided_by else ""
        msg = (
            f"mapping {mapping_id} is {found.status.value}{who} and stays so; "
            "to change it, import a new version"
        )
        raise MappingStateError(msg)
    if status is MappingStatus.APPROVED:
        _supersede(session, found, MappingStatus.APPROVED)
    return found


def get_mapping(session: Session, mapping_id: str) -> MappingVersion:
    """One version; UnknownMappingError."""
    row = session.get(MappingRow, mapping_id, populate_existing=True)
    if row is None:
        msg = f"no mapping {mapping_id!r}; `kedge mapping list` shows those there are"
        raise UnknownMappingError(msg)
    return _mapping(row)


def list_mappings(
    session: Session,
    *,
    model: str | None = None,
    domain: str | None = None,
    status: MappingStatus | None = None,
    limit: int = 10_000,
) -> tuple[MappingVersion, ...]:
    """Versions by model, domain, column, category and version, at most `limit`."""
    query = select(MappingRow).order_by(
        MappingRow.model,
        MappingRow.domain,
        MappingRow.column,
        MappingRow.category,
        MappingRow.version,
    )
    if model is not None:
        query = query.where(MappingRow.model == model)
    if domain is not None:
        query = query.where(MappingRow.domain == domain)
    if status is not None:
        query = query.where(MappingRow.status == status.value)
    return tuple(map(_mapping, session.scalars(query.limit(limit))))


def mappings_of(session: Session, deployment: Deployment) -> tuple[MappingVersion, ...]:
    """Every version of a deployment's mappings."""
    return list_mappings(session, model=deployment.model, domain=deployment.domain)


def count_waiting(session: Session) -> dict[Deployment, int]:
    """How many versions wait for a person, by deployment."""
    query = (
        select(MappingRow.model, MappingRow.domain, func.count())
        .where(MappingRow.status == MappingStatus.PROPOSED.value)
        .group_by(MappingRow.model, MappingRow.domain)
    )
    return {Deployment(model, domain): count for model, domain, count in session.execute(query)}


def _supersede(session: Session, version: MappingVersion, status: MappingStatus) -> None:
    """Other versions of the same mapping that have this status give way."""
    session.execute(
        update(MappingRow)
        .where(
            MappingRow.model == version.deployment.model,
            MappingRow.domain == version.deployment.domain,
            MappingRow.column == version.entry.column,
            MappingRow.category == version.entry.category,
            MappingRow.id != version.id,
            MappingRow.status == status.value,
        )
        .values(status=MappingStatus.SUPERSEDED.value)
    )


def _mapping(row: MappingRow) -> MappingVersion:
    """The record as it was made, with what has been decided since."""
    made = msgspec.json.decode(row.record, type=MappingVersion)
    return replace(
        made,
        status=MappingStatus(row.status),
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        reason=row.reason,
    )
