"""Incidents as people track them, and the trail of who did what to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from alerts.records import SERVICE_KINDS, Change, Incident, IncidentKind, IncidentState
from detectors.records import Deployment, Mode, Tier
from storage.engine import insert_into
from storage.tables import IncidentChangeRow, IncidentRow


class UnknownIncidentError(LookupError):
    """No incident has this id."""


def save_incidents(session: Session, incidents: Iterable[Incident]) -> None:
    """Store incidents as they are now, and the lines of their history that are new.

    Load what is changed with `lock=True` in the same transaction, so that of two processes the
    second sees what the first did.
    """
    for incident in incidents:
        values = {
            "model": incident.deployment.model,
            "domain": incident.deployment.domain,
            "kind": incident.kind.value,
            "mode": incident.mode.value,
            "state": incident.state.value,
            "severity": incident.severity.value,
            "tier": incident.tier.value,
            "opened_at": incident.opened_at,
            "updated_at": incident.updated_at,
            "closed_at": incident.closed_at,
            "record": msgspec.json.encode(incident).decode(),
        }
        insert = insert_into(session, IncidentRow).values(id=incident.id, **values)
        session.execute(insert.on_conflict_do_update(index_elements=["id"], set_=values))
        for change in incident.history:
            add_change(session, incident.id, change)


def add_change(session: Session, incident_id: str, change: Change) -> None:
    """Add a line to an incident's trail. The same line again (when, what, who) adds nothing."""
    insert = insert_into(session, IncidentChangeRow).values(
        incident_id=incident_id,
        at=change.at,
        what=change.what,
        author=change.by,
        words=change.words,
    )
    session.execute(insert.on_conflict_do_nothing())


def get_incident(session: Session, incident_id: str, *, lock: bool = False) -> Incident:
    """One incident with its whole trail; UnknownIncidentError."""
    query = select(IncidentRow.record).where(IncidentRow.id == incident_id)
    record = session.scalar(query.with_for_update() if lock else query)
    if record is None:
        msg = f"no incident {incident_id!r}; `kedge get incidents` shows those there are"
        raise UnknownIncidentError(msg)
    return replace(_incident(record), history=list_changes(session, incident_id))


def open_incidents(
    session: Session,
    deployment: Deployment,
    *,
    lock: bool = False,
    kinds: Iterable[IncidentKind] = (IncidentKind.DRIFT,),
) -> tuple[Incident, ...]:
    """A deployment's incidents that are not resolved, in order of opening.

    Evidence knows its own kind alone, so that a replay decides the same.
    """
    query = (
        select(IncidentRow.record)
        .where(
            IncidentRow.model == deployment.model,
            IncidentRow.domain == deployment.domain,
            IncidentRow.kind.in_([kind.value for kind in kinds]),
            IncidentRow.state != IncidentState.RESOLVED.value,
        )
        .order_by(IncidentRow.opened_at, IncidentRow.id)
    )
    return tuple(map(_incident, session.scalars(query.with_for_update() if lock else query)))


def count_open(session: Session) -> dict[tuple[Deployment, Tier], int]:
    """How many incidents of evidence are not resolved, by deployment and tier."""
    query = (
        select(IncidentRow.model, IncidentRow.domain, IncidentRow.tier, func.count())
        .where(
            IncidentRow.state != IncidentState.RESOLVED.value,
            IncidentRow.kind == IncidentKind.DRIFT.value,
        )
        .group_by(IncidentRow.model, IncidentRow.domain, IncidentRow.tier)
    )
    return {
        (Deployment(model, domain), Tier(tier)): count
        for model, domain, tier, count in session.execute(query)
    }


def open_arrivals(session: Session) -> dict[Deployment, tuple[IncidentKind, ...]]:
    """What is amiss with the arrival of rows and labels, by deployment; domain "" is a model."""
    query = select(IncidentRow.model, IncidentRow.domain, IncidentRow.kind).where(
        IncidentRow.state != IncidentState.RESOLVED.value,
        IncidentRow.kind.in_([kind.value for kind in SERVICE_KINDS]),
    )
    found: dict[Deployment, set[str]] = {}
    for model, domain, kind in session.execute(query):
        found.setdefault(Deployment(model, domain), set()).add(kind)
    return {
        deployment: tuple(kind for kind in SERVICE_KINDS if kind.value in kinds)
        for deployment, kinds in found.items()
    }


def list_incidents(
    session: Session,
    *,
    model: str | None = None,
    domain: str | None = None,
    state: IncidentState | None = None,
    mode: Mode | None = None,
    kinds: Iterable[IncidentKind] | None = None,
    since: datetime | None = None,
    limit: int = 100,
) -> tuple[Incident, ...]:
    """Incidents opened at `since` or later, newest first, at most `limit`; `kinds` None: all."""
    query = select(IncidentRow.record)
    if kinds is not None:
        query = query.where(IncidentRow.kind.in_([kind.value for kind in kinds]))
    if model is not None:
        query = query.where(IncidentRow.model == model)
    if domain is not None:
        query = query.where(IncidentRow.domain == domain)
    if state is not None:
        query = query.where(IncidentRow.state == state.value)
    if mode is not None:
        query = query.where(IncidentRow.mode == mode.value)
    if since is not None:
        query = query.where(IncidentRow.opened_at >= since)
    ordered = query.order_by(IncidentRow.opened_at.desc(), IncidentRow.id).limit(limit)
    return tuple(map(_incident, session.scalars(ordered)))


def list_changes(session: Session, incident_id: str) -> tuple[Change, ...]:
    """The trail of an incident in order of time."""
    query = (
        select(IncidentChangeRow)
        .where(IncidentChangeRow.incident_id == incident_id)
        .order_by(IncidentChangeRow.at, IncidentChangeRow.id)
    )
    return tuple(
        Change(at=row.at, what=row.what, by=row.author, words=row.words)
        for row in session.scalars(query)
    )


def unresolved(session: Session, *, limit: int = 10_000) -> tuple[Incident, ...]:
    """Every incident of any kind that is not resolved, in order of opening."""
    query = (
        select(IncidentRow.record)
        .where(IncidentRow.state != IncidentState.RESOLVED.value)
        .order_by(IncidentRow.opened_at, IncidentRow.id)
        .limit(limit)
    )
    return tuple(map(_incident, session.scalars(query)))


def _incident(record: str) -> Incident:
    return msgspec.json.decode(record, type=Incident)
