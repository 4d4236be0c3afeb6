"""After a check of a model: what several of its domains have in common becomes one incident.

Messages of a model with several domains wait a little in the outbox, at most until its check is
done, so that the page of the first domain does not leave before the second has been judged.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from alerts.grouping import regroup
from alerts.holding import Hold, HoldKind
from alerts.plain import plain
from alerts.records import Incident
from alerts.routing import RoutingTable
from alerts.settings import AlertSettings
from monitor.oncall.dispatch import post
from storage.engine import Database
from storage.groups import join_group, model_incidents, open_groups
from storage.incidents import save_incidents
from storage.outbox import end_wait, get_message
from storage.silences import save_hold, withdraw_incident

log = structlog.get_logger(__name__)


def group_model(
    database: Database, model: str, routing: RoutingTable, alerts: AlertSettings, now: datetime
) -> int:
    """Group a model's open incidents, and let what waited for that go; how many groups spoke."""
    if routing.group_wait <= timedelta(0):
        return 0
    spoke = 0
    with database.write() as session:
        groups = open_groups(session, model, lock=True)
        members = [member for _, own in groups for member in own]
        incidents = model_incidents(session, model, members)
        found = regroup(incidents, groups, now=now, settings=alerts)
        for grouped in found:
            save_incidents(session, [grouped.group])
            join_group(session, grouped.group.id, [i.id for i in grouped.joined], now)
            for member in grouped.joined:
                _hush(session, member, grouped.group, now)
            if grouped.message is not None:
                spoke += post(session, grouped.message, routing, now)
        end_wait(session, model, now=now, longest=routing.group_wait)
    for grouped in found:
        log.info(
            "incidents.grouped",
            group=grouped.group.id,
            joined=len(grouped.joined),
            domains=len(grouped.group.domains),
        )
    return spoke


def _hush(session: Session, member: Incident, group: Incident, now: datetime) -> None:
    """Take back what waits untried about a member: its group says it."""
    words = plain(f"told as part of {group.id}: {group.headline}")
    for message_id in withdraw_incident(session, member.id):
        message = get_message(session, message_id)
        if message is not None:
            save_hold(session, message, Hold(HoldKind.GROUP, group.id, words), now)
