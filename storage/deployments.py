"""Models and their deployments: what exists, what has come for it, how far it is evaluated."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import case, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.elements import ColumnElement

from detectors.records import Deployment, Schema
from storage.engine import insert_for, insert_into, rows_changed
from storage.schemas import schema_from_json, schema_to_json
from storage.tables import DeploymentRow, ModelRow


class UnknownModelError(LookupError):
    """A model nobody has registered."""

    def __init__(self, name: str, available: Iterable[str]) -> None:
        self.name = name
        self.available = sorted(available)
        near = difflib.get_close_matches(name, self.available, n=1)
        hint = f". Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(self.available) or "none yet"
        super().__init__(f"no model {name!r}; there is: {known}{hint}")


@dataclass(frozen=True, slots=True)
class Arrival:
    """How many rows of a domain came in one batch, and between which event times."""

    domain: str
    rows: int
    late_rows: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A deployment as stored. Event times in microseconds; None: nothing yet.

    `status` is for display only (maturity, state words): plain JSON values.
    """

    deployment: Deployment
    created_at: datetime
    first_event_us: int | None
    last_event_us: int | None
    rows: int
    late_rows: int
    evaluated_until_us: int | None
    cohort_evaluated_until_us: int | None
    status: Mapping[str, Any]
    last_received_at: datetime | None = None


def register_model(session: Session, model: str, now: datetime) -> None:
    """Make a model known. Does nothing where it is."""
    statement = insert_into(session, ModelRow).values(name=model, created_at=now)
    session.execute(statement.on_conflict_do_nothing())


def register_deployment(session: Session, deployment: Deployment, now: datetime) -> None:
    """Make a domain of a known model known, before its first event. Does nothing where it is."""
    statement = insert_into(session, DeploymentRow).values(
        model=deployment.model, domain=deployment.domain, created_at=now
    )
    session.execute(statement.on_conflict_do_nothing())


def list_models(session: Session) -> tuple[str, ...]:
    """Every model by name."""
    return tuple(session.scalars(select(ModelRow.name).order_by(ModelRow.name)))


def lock_model(session: Session, model: str) -> None:
    """Put writers of one model in a line until this transaction ends; UnknownModelError.

    SQLite has one writer anyway. On PostgreSQL this is a row lock.
    """
    query = select(ModelRow.name).where(ModelRow.name == model).with_for_update(key_share=True)
    if session.scalar(query) is None:
        raise UnknownModelError(model, list_models(session))


def latest_event_us(session: Session, model: str) -> int | None:
    """The latest accepted event time of a model: what its tick watermark counts from."""
    return session.scalar(select(ModelRow.latest_event_us).where(ModelRow.name == model))


def closed_until_us(session: Session, model: str) -> int | None:
    """Where a flush closed every tick of a model; events before it are late. None: never."""
    return session.scalar(select(ModelRow.closed_until_us).where(ModelRow.name == model))


def close_until(session: Session, model: str, until_us: int) -> None:
    """Note that every tick before `until_us` is closed. Never moves back."""
    behind = or_(ModelRow.closed_until_us.is_(None), ModelRow.closed_until_us < until_us)
    session.execute(
        update(ModelRow).where(ModelRow.name == model, behind).values(closed_until_us=until_us)
    )


def learnt_schema(session: Session, model: str) -> Schema | None:
    """The provisional schema of a model, None if none was learnt."""
    stored = session.scalar(select(ModelRow.learnt_schema).where(ModelRow.name == model))
    return None if stored is None else schema_from_json(stored)


def keep_learnt_schema(session: Session, model: str, schema: Schema) -> Schema:
    """Store a provisional schema unless one was stored before; returns the one that holds."""
    session.execute(
        update(ModelRow)
        .where(ModelRow.name == model, ModelRow.learnt_schema.is_(None))
        .values(learnt_schema=schema_to_json(schema))
    )
    return learnt_schema(session, model) or schema


def list_deployments(session: Session, model: str | None = None) -> tuple[DeploymentState, ...]:
    """Deployments with their state, by model and domain."""
    query = select(DeploymentRow).order_by(DeploymentRow.model, DeploymentRow.domain)
    if model is not None:
        query = query.where(DeploymentRow.model == model)
    return tuple(_state(row) for row in session.scalars(query))


def get_deployment(session: Session, deployment: Deployment) -> DeploymentState | None:
    """One deployment with its state, or None."""
    row = session.get(DeploymentRow, (deployment.model, deployment.domain))
    return None if row is None else _state(row)


def note_arrivals(
    session: Session, model: str, arrivals: Iterable[Arrival], received_at: datetime
) -> None:
    """Count rows that came. Two processes counting at once both count."""
    rows: list[dict[str, Any]] = [
        {
            "model": model,
            "domain": arrival.domain,
            "created_at": received_at,
            "first_event_us": arrival.first_us,
            "last_event_us": arrival.last_us,
            "last_received_at": received_at,
            "rows": arrival.rows,
            "late_rows": arrival.late_rows,
            "status": {},
        }
        for arrival in arrivals
    ]
    if not rows:
        return
    session.connection().execute(_count_arrivals(session.get_bind().dialect.name), rows)
    latest = max(row["last_event_us"] for row in rows)
    behind = or_(ModelRow.latest_event_us.is_(None), ModelRow.latest_event_us < latest)
    session.execute(
        update(ModelRow).where(ModelRow.name == model, behind).values(latest_event_us=latest)
    )


def set_evaluated(
    session: Session,
    deployment: Deployment,
    *,
    evaluated_until_us: int | None = None,
    cohort_evaluated_until_us: int | None = None,
    status: Mapping[str, Any] | None = None,
) -> None:
    """Say how far a deployment has been evaluated, and what to show; None leaves as it is."""
    given = {
        "evaluated_until_us": evaluated_until_us,
        "cohort_evaluated_until_us": cohort_evaluated_until_us,
        "status": None if status is None else dict(status),
    }
    values = {name: value for name, value in given.items() if value is not None}
    if not values:
        return
    statement = (
        update(DeploymentRow)
        .where(DeploymentRow.model == deployment.model, DeploymentRow.domain == deployment.domain)
        .values(**values)
    )
    if rows_changed(session, statement) != 1:
        msg = f"no deployment {deployment}; register it first"
        raise LookupError(msg)


@cache
def _count_arrivals(dialect: str) -> Any:
    """Built once: this runs for every batch."""
    insert = insert_for(dialect, DeploymentRow)
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=["model", "domain"],
        set_={
            "rows": DeploymentRow.rows + new.rows,
            "late_rows": DeploymentRow.late_rows + new.late_rows,
            "last_received_at": new.last_received_at,
            "first_event_us": _smaller(DeploymentRow.first_event_us, new.first_event_us),
            "last_event_us": _larger(DeploymentRow.last_event_us, new.last_event_us),
        },
    )


def _smaller(
    old: InstrumentedAttribute[int | None], new: ColumnElement[int]
) -> ColumnElement[int | None]:
    return case((or_(old.is_(None), new < old), new), else_=old)


def _larger(
    old: InstrumentedAttribute[int | None], new: ColumnElement[int]
) -> ColumnElement[int | None]:
    return case((or_(old.is_(None), new > old), new), else_=old)


def _state(row: DeploymentRow) -> DeploymentState:
    return DeploymentState(
        deployment=Deployment(row.model, row.domain),
        created_at=row.created_at,
        first_event_us=row.first_event_us,
        last_event_us=row.last_event_us,
        rows=row.rows,
        late_rows=row.late_rows,
        evaluated_until_us=row.evaluated_until_us,
        cohort_evaluated_until_us=row.cohort_evaluated_until_us,
        status=row.status,
        last_received_at=row.last_received_at,
    )
