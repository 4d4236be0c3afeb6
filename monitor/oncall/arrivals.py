"""The job that asks whether rows and labels still come, every few minutes of the wall clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from alerts.arrival import (
    FEW_DAYS,
    KEPT_DAYS,
    Arrival,
    ArrivalSettings,
    LabelTicks,
    decide_arrivals,
    note_arrival,
)
from alerts.records import SERVICE_KINDS
from alerts.routing import RoutingTable
from alerts.settings import AlertSettings
from detectors.records import DAY_US, Deployment, to_datetime
from monitor.oncall.dispatch import post
from storage.arrivals import label_ticks, load_waits, rows_since, save_waits
from storage.deployments import DeploymentState, list_deployments, lock_model
from storage.engine import Database
from storage.incidents import open_incidents, save_incidents

log = structlog.get_logger(__name__)


def look_at_arrivals(
    database: Database,
    models: Iterable[str],
    settings_of: Callable[[str], ArrivalSettings],
    routing: RoutingTable,
    alerts: AlertSettings,
    *,
    now: datetime,
    up_since: datetime,
) -> int:
    """Open and close what has begun and ended; how many transitions there were."""
    changed = 0
    for model in models:
        with database.write() as session:
            changed += _look(session, model, settings_of(model), routing, alerts, now, up_since)
    return changed


def _look(
    session: Session,
    model: str,
    settings: ArrivalSettings,
    routing: RoutingTable,
    alerts: AlertSettings,
    now: datetime,
    up_since: datetime,
) -> int:
    lock_model(session, model)
    known = load_waits(session, model)
    arrivals = []
    for state in list_deployments(session, model):
        deployment = state.deployment
        waits = known.get(deployment.domain)
        if state.last_received_at is not None:
            noted = note_arrival(waits, state.last_received_at, up_since=up_since)
            if noted != waits:
                save_waits(session, deployment, noted)
            waits = noted
        labels, rows = _of_event_time(session, state)
        arrivals.append(Arrival(deployment, waits, labels, rows))
    places = [Deployment(model, ""), *(arrival.deployment for arrival in arrivals)]
    opened = [i for place in places for i in open_incidents(session, place, kinds=SERVICE_KINDS)]
    decision = decide_arrivals(
        model, arrivals, settings, opened, now=now, up_since=up_since, alerts=alerts
    )
    save_incidents(session, decision.incidents)
    for message in decision.messages:
        post(session, message, routing, now)
    for incident in decision.incidents:
        log.info("arrival.changed", what=incident.kind.value, state=incident.state.value)
    return len(decision.incidents)


def _of_event_time(session: Session, state: DeploymentState) -> tuple[LabelTicks, int | None]:
    """Labels of the last weeks and rows of the last one, by how far it has been evaluated."""
    until_us = state.evaluated_until_us
    if until_us is None:
        return LabelTicks(), None
    labels = label_ticks(
        session, state.deployment, to_datetime(until_us) - timedelta(days=KEPT_DAYS)
    )
    first_us = state.first_event_us or until_us
    if until_us - first_us < 2 * FEW_DAYS * DAY_US:
        return labels, None
    return labels, rows_since(session, state.deployment, until_us - FEW_DAYS * DAY_US)
