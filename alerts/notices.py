"""Messages that time brings rather than data: after a silence, or when nobody has answered.

They are numbered apart from an incident's own messages, so that a replay, which knows neither
people nor the wall clock, still gives those the same ids.
"""

from __future__ import annotations

from alerts.bodies import incident_body
from alerts.plain import plain
from alerts.records import Incident, Message, MessageType, notice_id
from alerts.settings import AlertSettings


def notice(
    incident: Incident,
    kind: MessageType,
    *,
    what: str,
    cause: str,
    words: str,
    settings: AlertSettings,
) -> Message:
    """A message about an incident as it stands; one of the same `what` and `cause` is a repeat.

    `words` come before the headline and stand in the body as `data.reason`.
    """
    headline = plain(f"{words} — {incident.headline}")
    at = incident.updated_at
    body = incident_body(kind, incident, now=at, public_url=settings.public_url, headline=headline)
    body["data"]["reason"] = plain(words)
    return Message(
        id=notice_id(incident.id, what, cause),
        type=kind,
        deployment=incident.deployment,
        incident_id=incident.id,
        tier=incident.tier,
        severity=incident.severity,
        body=body,
        created_at=at,
    )
