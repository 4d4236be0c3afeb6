"""Whom else to tell when nobody has answered, and when an acknowledgement ends by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from alerts import wording
from alerts.history import record
from alerts.notices import notice
from alerts.records import Change, Decision, Incident, IncidentState, Message, MessageType, Reason
from alerts.routing import Escalation
from alerts.settings import AlertSettings


@dataclass(frozen=True, slots=True)
class Told:
    """When people were told of an incident, by which message; wall clock."""

    message_id: str
    at: datetime


def escalate(
    incident: Incident,
    told: Told | None,
    escalations: Iterable[Escalation],
    *,
    now: datetime,
    settings: AlertSettings,
) -> tuple[tuple[Message, tuple[str, ...]], ...]:
    """The messages that are due because nobody has acknowledged, each with its channels.

    Made again until somebody acknowledges, always under the same ids: what was sent is not sent
    twice. An incident that was not told to anybody has nobody to answer, and does not escalate.
    """
    if incident.state is not IncidentState.OPEN or told is None:
        return ()
    waited = now - told.at
    due = []
    for step in escalations:
        if waited < step.after:
            continue
        words = f"nobody has acknowledged for {wording.length(step.after)}"
        seconds = round(step.after.total_seconds())
        cause = f"{told.message_id} {seconds} {' '.join(step.channels)}"
        message = notice(
            incident,
            MessageType.UPDATED,
            what="escalation",
            cause=cause,
            words=words,
            settings=settings,
        )
        due.append((message, step.channels))
    return tuple(due)


def wake(incident: Incident, *, now: datetime, settings: AlertSettings) -> Decision:
    """End an acknowledgement whose time is up: the incident is open again, and people are told."""
    if incident.state is not IncidentState.ACKNOWLEDGED or incident.snoozed_until is None:
        return Decision(reasons=(Reason("not snoozed", "nothing to wake", incident.id),))
    words = f"the acknowledgement by {incident.acknowledged_by} has run out"
    woken = replace(
        record(incident, Change(now, "snooze over", words=words)),
        state=IncidentState.OPEN,
        acknowledged_at=None,
        acknowledged_by="",
        snoozed_until=None,
    )
    message = notice(
        woken,
        MessageType.OPENED,
        what="snooze over",
        cause=incident.snoozed_until.isoformat(),
        words=words,
        settings=settings,
    )
    return Decision((woken,), (message,), reasons=(Reason("snooze over", words, incident.id),))
