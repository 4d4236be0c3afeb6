"""The whole application over a real database, with what is around it standing still."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from sqlalchemy import event
from starlette.testclient import TestClient

from alerts.records import (
    Attempt,
    Change,
    Incident,
    IncidentState,
    Message,
    MessageType,
    Outcome,
    RetrainingRequest,
    Severity,
    incident_id,
    message_id,
    request_id,
)
from alerts.routing import RoutingTable
from detectors.records import (
    HOUR_US,
    Action,
    ColumnSpec,
    Deployment,
    Finding,
    Kind,
    Mode,
    Schema,
    Settings,
    Task,
    Tier,
    Window,
    to_us,
)
from monitor.api.app import create_app
from monitor.api.context import ApiContext
from monitor.api.ingest import ingest_router
from monitor.config import Config, parse_config
from monitor.intake.ingest import Ingest, ModelIngest
from monitor.metrics import Metrics
from storage.deployments import Arrival, note_arrivals, set_evaluated
from storage.engine import Database
from storage.findings import save_findings
from storage.incidents import get_incident, list_incidents, save_incidents
from storage.outbox import claim_next, enqueue, mark_failed
from storage.references import Role, add_reference
from storage.retraining import add_request
from tests.monitor.serving import NOW, FixedClock, Models, new_database

TOKEN = "kdg_test_0123456789abcdef"
EVALUATED = NOW - timedelta(hours=2)
HOSTILE = "<script>alert('x')</script>/\u202e\"&"
ACTION = Action("re-fit head", "this domain", "days", "loss back at 0.41 within 3 d", True)
SCHEMA = Schema(Task.BINARY, (ColumnSpec("age", Kind.NUMERIC),))
VT = Deployment("credit", "VT")


@dataclass
class World:
    """What a test talks to, and what it may change."""

    client: TestClient
    app: FastAPI
    context: ApiContext
    database: Database
    clock: FixedClock
    flushed: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[Deployment, int | None]] = field(default_factory=list)

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    def post(self, path: str, body: Mapping[str, Any], **headers: str) -> Any:
        return self.client.post(path, json=body, headers=headers)

    def incident(self, incident_id: str) -> Incident:
        with self.database.read() as session:
            return get_incident(session, incident_id)

    def incidents(self) -> tuple[Incident, ...]:
        with self.database.read() as session:
            return list_incidents(session)


@contextmanager
def world(folder: Path, config: Config | None = None, **models: Schema | None) -> Iterator[World]:
    """The application with models `credit` and `fraud`, each test with its own database."""
    models = models or {"credit": SCHEMA, "fraud": None}
    snapshot = config or parse_config({"models": {name: {} for name in models}}, source="test")
    clock = FixedClock()
    with new_database(folder, *models) as database:
        event.listen(database.writer, "connect", _hurry)
        database.writer.dispose()
        ingest = Ingest(database, clock, lambda _: ModelIngest())
        ingest.start()
        flushed: list[str] = []
        wrong = {"database": ""}
        asked: list[tuple[Deployment, int | None]] = []

        def report_of(deployment: Deployment, days: int | None) -> dict[str, Any]:
            asked.append((deployment, days))
            return report(deployment)

        def flush(model: str) -> dict[str, int]:
            flushed.append(model)
            return {"instants": 3}

        context = ApiContext(
            database=database,
            config=lambda: snapshot,
            clock=clock,
            ingest=ingest_router(ingest, Models(dict(models)), clock),
            report_of=report_of,
            flush=flush,
            ready=lambda: wrong,
            healthy=lambda: wrong,
            routing=lambda: RoutingTable(default={Tier.PAGE: ("ops",), Tier.TICKET: ("ops",)}),
            metrics=Metrics(database, clock, lambda: snapshot, lambda: ingest.stats),
        )
        app = create_app(context)
        with TestClient(app, base_url="http://127.0.0.1:8321") as client:
            yield World(client, app, context, database, clock, flushed, wrong, asked)
        assert ingest.stop()


def _hurry(connection: sqlite3.Connection, _: object) -> None:
    # Nobody pulls the plug of these tests: waiting for the disk proves nothing.
    connection.execute("PRAGMA synchronous = OFF")


def report(deployment: Deployment) -> dict[str, Any]:
    """A kedge.report/1 that `kedge check` would write of a little table."""
    return {**_report(), "model": deployment.model, "domain": deployment.domain}


@cache
def _report() -> dict[str, Any]:
    from monitor.reports.build import answer, single_look_budget, write_down

    rng = np.random.default_rng(7)

    def rows(n: int) -> Window:
        score = rng.uniform(0.1, 0.9, n)
        return Window(
            rows=n,
            score=score,
            baseline_score=np.clip(score + rng.normal(0, 0.1, n), 0.01, 0.99),
            label=(rng.uniform(size=n) < score).astype(float),
            numeric={"age": rng.normal(40, 10, n)},
        )

    reference, current = rows(400), rows(400)
    return write_down(
        VT,
        answer(reference, current, SCHEMA, Settings()),
        reference=reference,
        current=current,
        references=[],
        now=NOW,
        budget=single_look_budget(Settings()),
    )


def add_domain(
    world: World, deployment: Deployment = VT, rows: int = 100, **status: Any
) -> Deployment:
    """A domain that has had rows; evaluated if a status is given."""
    last_us = to_us(NOW - timedelta(hours=1))
    with world.database.write() as session:
        arrival = Arrival(deployment.domain, rows, 0, last_us - 48 * HOUR_US, last_us)
        note_arrivals(session, deployment.model, [arrival], NOW)
        if status:
            set_evaluated(
                session,
                deployment,
                evaluated_until_us=to_us(EVALUATED),
                status={"maturity": "guaranteed", "guaranteed": True, "why_not": None} | status,
            )
    return deployment


def add_incident(world: World, deployment: Deployment = VT, **fields: Any) -> Incident:
    """An open incident of a deployment that pages."""
    opened_at = fields.pop("opened_at", NOW - timedelta(days=1))
    mode = fields.pop("mode", Mode.CONCEPT_SHIFT)
    incident = Incident(
        id=incident_id(deployment, mode, opened_at),
        deployment=deployment,
        mode=mode,
        state=IncidentState.OPEN,
        severity=Severity.HIGH,
        tier=Tier.PAGE,
        headline=f"{deployment}: loss is up",
        opened_at=opened_at,
        updated_at=opened_at,
        onset=opened_at - timedelta(hours=3),
        action=ACTION,
        confidence=0.9,
        evidence=("loss up 0.08",),
        streams=("loss.mean",),
        history=(Change(opened_at, "opened", words="loss is up"),),
        notified_at=opened_at,
        sequence=1,
    )
    incident = replace(incident, **fields)
    with world.database.write() as session:
        save_incidents(session, [incident])
    return incident


def add_finding(world: World, hours: int, tier: Tier = Tier.PAGE) -> Finding:
    """A finding so many hours before now."""
    ts = NOW - timedelta(hours=hours)
    finding = Finding("drift", ts, ts, f"loss.mean@h={hours}", tier, slice=f"h={hours}")
    with world.database.write() as session:
        save_findings(session, VT, [finding])
    return finding


def add_retraining(world: World) -> RetrainingRequest:
    """A request that waits for somebody."""
    at = NOW - timedelta(days=1)
    asked = RetrainingRequest(
        id=request_id(VT, ACTION.kind, at),
        deployment=VT,
        incident_id="inc_x",
        mode=Mode.CONCEPT_SHIFT,
        action=ACTION,
        reason="loss is up",
        requested_at=at,
        since=at - timedelta(days=2),
        until=at,
        rows=800,
    )
    with world.database.write() as session:
        add_request(session, asked)
    return asked


def add_message(world: World, *, dead: bool = False) -> Message:
    """A message to channel `ops`, given up if `dead`."""
    message = Message(
        id=message_id("inc_x", MessageType.OPENED, 2 if dead else 1),
        type=MessageType.OPENED,
        deployment=VT,
        incident_id="inc_x",
        tier=Tier.PAGE,
        severity=Severity.HIGH,
        body={"type": "incident.opened"},
        created_at=NOW,
    )
    with world.database.write() as session:
        enqueue(session, message, ["ops"], NOW - timedelta(minutes=5))
    if dead:
        with world.database.write() as session:
            delivery = claim_next(session, now=NOW, lease=timedelta(minutes=1))
            assert delivery is not None
            attempt = Attempt(
                message.id, "ops", 0, NOW, Outcome.DEAD, status=404, words="answered 404"
            )
            mark_failed(session, delivery, attempt)
    return message


def add_reference_window(world: World) -> int:
    """A reference of two rows for VT; its id."""
    window = Window(rows=2, numeric={"age": np.array([1.0, 2.0])})
    with world.database.write() as session:
        return add_reference(session, "credit", "VT", Role.ONBOARDING, window, SCHEMA, NOW).id
