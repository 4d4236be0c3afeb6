"""The desk: what the wall clock and people bring about between two messages of an incident.

Looks again at what was held, and tells once what is still open when its reason has ended. Each
deed is one transaction and has an id of its own, so that a second process changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from alerts.closing import resolve_by_service
from alerts.escalation import Told, escalate, wake
from alerts.holding import HoldKind
from alerts.notices import notice
from alerts.records import Decision, Incident, IncidentKind, IncidentState, MessageType, Reason
from alerts.routing import RoutingTable, escalations
from alerts.settings import AlertSettings
from detectors.records import Tier
from monitor.oncall.deeds import carry_out
from monitor.oncall.dispatch import hold_of, post, post_to
from storage.engine import Database
from storage.groups import members_of
from storage.incidents import UnknownIncidentError, get_incident, unresolved
from storage.outbox import get_message, list_waiting, put_off
from storage.silences import (
    Held,
    UnknownSilenceError,
    channels_told,
    get_silence,
    save_hold,
    settle,
    told_since,
    unsettled_holds,
    withdraw,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tended:
    """What one look brought, by deed."""

    counts: Mapping[str, int] = field(default_factory=dict)


def tend(database: Database, routing: RoutingTable, alerts: AlertSettings, now: datetime) -> Tended:
    """Look at everything that waits for the wall clock. Safe to call as often as one likes."""
    with database.read() as session:
        held = unsettled_holds(session)
        working = unresolved(session)
    counts = dict.fromkeys(("told", "woken", "escalated", "ended", "put_off"), 0)
    for channel, quiet in routing.quiet.items():
        if (until := quiet.ends(now)) is not None:
            tiers = (Tier.TICKET, Tier.PAGE) if quiet.pages else (Tier.TICKET,)
            with database.write() as session:
                counts["put_off"] += put_off(session, channel, tiers, now=now, until=until)
    for incident in working:
        if incident.kind is IncidentKind.GROUP:
            counts["ended"] += _end_group(database, incident.id, routing, alerts, now)
    for incident_id in dict.fromkeys(one.incident_id for one in held):
        with database.write() as session:
            counts["told"] += _release(session, incident_id, routing, alerts, now)
    for incident in working:
        if incident.snoozed_until is not None and incident.snoozed_until <= now:
            with database.write() as session:
                counts["woken"] += _wake(session, incident.id, routing, alerts, now)
    if any(route.escalation is not None for route in routing.routes):
        for incident in working:
            if incident.state is IncidentState.OPEN:
                counts["escalated"] += _escalate(database, incident, routing, alerts, now)
    return Tended(counts)


def _end_group(
    database: Database,
    group_id: str,
    routing: RoutingTable,
    alerts: AlertSettings,
    now: datetime,
) -> int:
    """Close a group whose members are all over."""
    with database.write() as session:
        members = [get_incident(session, one) for one in members_of(session, group_id)]
        if not members or any(member.is_open for member in members):
            return 0

        def do(group: Incident, at: datetime) -> Decision:
            how = f"all {len(members)} of its incidents are"
            return resolve_by_service(group, how=how, now=at, settings=alerts)

        _, decision = carry_out(session, group_id, do, routing, now)
    return len(decision.incidents)


def _wake(
    session: Session,
    incident_id: str,
    routing: RoutingTable,
    alerts: AlertSettings,
    now: datetime,
) -> int:
    """End one acknowledgement, unless somebody has moved its end meanwhile."""

    def do(incident: Incident, at: datetime) -> Decision:
        if incident.snoozed_until is None or incident.snoozed_until > now:
            return Decision(reasons=(Reason("not snoozed", "moved meanwhile", incident.id),))
        return wake(incident, now=at, settings=alerts)

    _, decision = carry_out(session, incident_id, do, routing, now)
    return len(decision.incidents)


def _escalate(
    database: Database,
    incident: Incident,
    routing: RoutingTable,
    alerts: AlertSettings,
    now: datetime,
) -> int:
    """Tell further channels of an incident that nobody has taken."""
    with database.read() as session:
        since = told_since(session, incident, now)
        told = None if since is None else Told(*since)
        probe = None if told is None else get_message(session, told.message_id)
        if probe is None:
            return 0
        due = escalate(incident, told, escalations(probe, routing), now=now, settings=alerts)
        due = tuple(d for d in due if get_message(session, d[0].id) is None)
    if not due:
        return 0
    with database.write() as session:
        if get_incident(session, incident.id, lock=True).state is not IncidentState.OPEN:
            return 0
        sent = sum(post_to(session, message, to, routing, now) for message, to in due)
    if sent:
        log.info("incident.escalated", incident=incident.id, messages=sent)
    return sent


def _release(
    session: Session,
    incident_id: str,
    routing: RoutingTable,
    alerts: AlertSettings,
    now: datetime,
) -> int:
    """Settle what no longer holds an incident's messages, and tell of it if it is still open."""
    over = [
        one
        for one in unsettled_holds(session)
        if one.incident_id == incident_id and not _still_holds(session, one, now)
    ]
    if not over or not settle(session, [one.message_id for one in over], now):
        return 0
    incident = get_incident(session, incident_id)
    if incident.state is not IncidentState.OPEN:
        return 0
    last = over[-1]
    told = notice(
        incident,
        MessageType.UPDATED if channels_told(session, incident_id) else MessageType.OPENED,
        what=f"after {last.hold.kind.value}",
        cause=f"{last.hold.by} {last.message_id}",
        words=_WORDS[last.hold.kind],
        settings=alerts,
    )
    posted = post(session, told, routing, now)
    log.info("incident.told_late", incident=incident_id, held_by=last.hold.by)
    return int(posted)


_WORDS = {
    HoldKind.SILENCE: "still open after a silence",
    HoldKind.INHIBITION: "still open now that its likely cause is mended",
    HoldKind.GROUP: "still open while its group is not",
    HoldKind.UNTOLD: "still open",
}


def _still_holds(session: Session, held: Held, now: datetime) -> bool:
    match held.hold.kind:
        case HoldKind.SILENCE:
            try:
                return now < get_silence(session, held.hold.by).ends_at
            except UnknownSilenceError:
                return False
        case HoldKind.INHIBITION | HoldKind.GROUP:
            return _is_open(session, held.hold.by)
        case HoldKind.UNTOLD:
            return False


def _is_open(session: Session, incident_id: str) -> bool:
    try:
        return get_incident(session, incident_id).is_open
    except UnknownIncidentError:
        return False


def hush_waiting(session: Session, now: datetime) -> int:
    """Hold what waits untried in the outbox and would not be sent any more; how many messages.

    For a new silence: a ticket that waits for the morning belongs to it as much as the next one.
    """
    hushed = 0
    for waiting in list_waiting(session, limit=10_000):
        message = waiting.message
        if waiting.attempts or message.type.follows:
            continue
        hold = hold_of(session, message, told=False, now=now)
        if hold is not None and withdraw(session, message.id):
            save_hold(session, message, hold, now)
            hushed += 1
    return hushed
