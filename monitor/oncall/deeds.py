"""What is done to an incident by people, and by the wall clock: decide, save and tell at once.

Incidents live in event time, so that a replay makes the same ones. A deed is therefore dated by
how far its deployment has been evaluated, always behind the last line of the history and before
anything a later check can add; the wall clock stands at the end of its words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from alerts.records import Decision, Incident
from alerts.routing import RoutingTable
from detectors.records import to_datetime
from monitor.oncall.dispatch import post
from monitor.reports.forms import iso
from storage.deployments import get_deployment
from storage.incidents import get_incident, save_incidents

Do = Callable[[Incident, datetime], Decision]


def carry_out(
    session: Session, incident_id: str, do: Do, routing: RoutingTable, wall: datetime
) -> tuple[Incident, Decision]:
    """The incident after a deed, and the decision that made it; in the caller's transaction.

    UnknownIncidentError, and whatever `do` raises.
    """
    incident = get_incident(session, incident_id, lock=True)
    decision = do(incident, event_time(session, incident, wall))
    changed = [stamped(after, wall) for after in decision.incidents]
    save_incidents(session, changed)
    for message in decision.messages:
        post(session, message, routing, wall)
    return (changed[0] if changed else incident), decision


def event_time(session: Session, incident: Incident, wall: datetime) -> datetime:
    """Behind everything the incident's history holds, and not ahead of the next check."""
    state = get_deployment(session, incident.deployment)
    until_us = None if state is None else state.evaluated_until_us
    at = wall if until_us is None else to_datetime(until_us)
    behind = [change.at + timedelta(microseconds=1) for change in incident.history]
    return max([at, incident.updated_at, *behind])


def stamped(incident: Incident, wall: datetime) -> Incident:
    """The wall clock at the end of the newest line: when it was done."""
    *earlier, last = incident.history
    words = f"{last.words} [{iso(wall.replace(microsecond=0))}]".strip()
    return replace(incident, history=(*earlier, replace(last, words=words)))
