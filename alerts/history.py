"""An incident's own record: the line a change leaves in it, and the message it numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alerts.bodies import incident_body
from alerts.records import Change, Incident, Message, MessageType, message_id
from alerts.settings import AlertSettings

KEPT_CHANGES = 50


def add_message(
    incident: Incident,
    kind: MessageType,
    now: datetime,
    settings: AlertSettings,
    *,
    headline: str = "",
) -> tuple[Incident, Message]:
    """The next message about an incident, and the incident that has counted it."""
    numbered = replace(incident, sequence=incident.sequence + 1)
    body = incident_body(kind, numbered, now=now, public_url=settings.public_url, headline=headline)
    message = Message(
        id=message_id(numbered.id, kind, numbered.sequence),
        type=kind,
        deployment=numbered.deployment,
        incident_id=numbered.id,
        tier=numbered.tier,
        severity=numbered.severity,
        body=body,
        created_at=now,
    )
    return numbered, message


def record(incident: Incident, change: Change) -> Incident:
    """Add to the history; beyond its limit the oldest changes after the first are forgotten."""
    history = (*incident.history, change)
    if len(history) > KEPT_CHANGES:
        history = (history[0], *history[-(KEPT_CHANGES - 1) :])
    return replace(incident, history=history)
