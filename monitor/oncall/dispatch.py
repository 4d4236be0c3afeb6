"""Puts a message on its way, in the transaction of its cause: held or not, who gets it, and when.

Everything that knows the wall clock or people stands here and in the desk, behind evidence and
incidents: those stay what a replay makes of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from alerts.holding import Hold, why_held
from alerts.records import IncidentKind, Message, MessageType
from alerts.routing import Destination, RoutingTable, destinations, quiet_until
from storage.deployments import list_deployments
from storage.groups import group_of
from storage.incidents import UnknownIncidentError, get_incident, open_incidents
from storage.outbox import enqueue
from storage.silences import channels_told, holds_of, list_silences, save_hold

MOST_SILENCES = 1_000


def post(session: Session, message: Message, routing: RoutingTable, now: datetime) -> bool:
    """Route a message into the outbox; False, and nothing changed, if it was there before.

    `now` is the wall clock. A held message is kept with its reason and no channel. The end of
    a problem goes to the channels that were told of it, wherever the table leads by now.
    """
    told = channels_told(session, message.incident_id) if message.incident_id else ()
    hold = hold_of(session, message, told=bool(told), now=now)
    if hold is not None:
        if not enqueue(session, message, (), now):
            return False
        save_hold(session, message, hold, now)
        return True
    chosen = destinations(message, routing, now)
    if message.type.follows and told:
        chosen = tuple(Destination(c, quiet_until(message, c, routing, now)) for c in told)
    earliest = now + routing.group_wait if _waits_for_others(session, message, routing) else now
    return enqueue(
        session,
        message,
        [destination.channel for destination in chosen],
        now,
        not_before={d.channel: max(d.not_before or now, earliest) for d in chosen},
    )


def _waits_for_others(session: Session, message: Message, routing: RoutingTable) -> bool:
    """Whether a message may turn out to be one of several about one cause."""
    told = message.type in {MessageType.OPENED, MessageType.UPDATED}
    if not told or routing.group_wait <= timedelta(0) or not message.deployment.domain:
        return False
    return len(list_deployments(session, message.deployment.model)) > 1


def post_to(
    session: Session,
    message: Message,
    channels: Iterable[str],
    routing: RoutingTable,
    now: datetime,
) -> bool:
    """Give a message to these channels whatever the routes say, after their quiet hours.

    Does nothing while the message is held, so that it is tried again.
    """
    if hold_of(session, message, told=True, now=now) is not None:
        return False
    not_before = {channel: quiet_until(message, channel, routing, now) for channel in channels}
    return enqueue(session, message, not_before, now, not_before=not_before)


def hold_of(session: Session, message: Message, *, told: bool, now: datetime) -> Hold | None:
    """Why a message is not to be sent now, or None."""
    if not message.incident_id:
        return None
    try:
        incident = get_incident(session, message.incident_id)
    except UnknownIncidentError:
        return None
    return why_held(
        message,
        incident,
        silences=list_silences(session, not_over_at=now, limit=MOST_SILENCES),
        group=group_of(session, incident.id),
        others=open_incidents(session, incident.deployment, kinds=IncidentKind),
        told=told,
        held_before=bool(message.type.follows and holds_of(session, incident.id)),
        now=now,
    )
