"""Which incidents a group speaks for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.records import Incident, IncidentKind
from detectors.records import Deployment
from storage.engine import insert_into
from storage.incidents import UnknownIncidentError, get_incident, open_incidents
from storage.tables import GroupMemberRow, IncidentRow


def join_group(session: Session, group_id: str, members: Iterable[str], now: datetime) -> None:
    """Let a group speak for these incidents from now on, whatever group did before."""
    for member in members:
        insert = insert_into(session, GroupMemberRow).values(
            incident_id=member, group_id=group_id, joined_at=now
        )
        session.execute(
            insert.on_conflict_do_update(
                index_elements=["incident_id"], set_={"group_id": group_id, "joined_at": now}
            )
        )


def group_of(session: Session, incident_id: str) -> Incident | None:
    """The group that speaks for an incident, open or over; None where it speaks for itself."""
    query = select(GroupMemberRow.group_id).where(GroupMemberRow.incident_id == incident_id)
    found = session.scalar(query)
    if found is None:
        return None
    try:
        return get_incident(session, found)
    except UnknownIncidentError:
        return None


def members_of(session: Session, group_id: str) -> tuple[str, ...]:
    """The incidents a group speaks for, in order of joining."""
    query = (
        select(GroupMemberRow.incident_id)
        .where(GroupMemberRow.group_id == group_id)
        .order_by(GroupMemberRow.joined_at, GroupMemberRow.incident_id)
    )
    return tuple(session.scalars(query))


def open_groups(
    session: Session, model: str, *, lock: bool = False
) -> tuple[tuple[Incident, tuple[str, ...]], ...]:
    """A model's groups that are not resolved, each with its members."""
    found = open_incidents(session, Deployment(model, ""), lock=lock, kinds=[IncidentKind.GROUP])
    return tuple((group, members_of(session, group.id)) for group in found)


def model_incidents(session: Session, model: str, ids: Iterable[str]) -> tuple[Incident, ...]:
    """A model's open incidents of evidence, and those with these ids whatever their state."""
    query = select(IncidentRow.id).where(
        IncidentRow.model == model,
        IncidentRow.kind == IncidentKind.DRIFT.value,
        (IncidentRow.state != "resolved") | IncidentRow.id.in_(list(ids)),
    )
    return tuple(get_incident(session, found) for found in session.scalars(query).all())
