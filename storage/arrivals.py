"""What is remembered of when rows come, and what summaries tell of labels and counts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from alerts.arrival import LabelTicks, Waits
from detectors.records import Deployment, to_datetime
from storage.engine import insert_into
from storage.summaries import Clock
from storage.tables import ArrivalRow, SummaryRow


def load_waits(session: Session, model: str) -> dict[str, Waits]:
    """The pauses of each domain of a model."""
    query = select(ArrivalRow).where(ArrivalRow.model == model)
    return {
        row.domain: Waits(row.last_at, tuple((int(day), float(s)) for day, s in row.days))
        for row in session.scalars(query)
    }


def save_waits(session: Session, deployment: Deployment, waits: Waits) -> None:
    """Remember the pauses of a deployment."""
    values = {"last_at": waits.last_at, "days": [list(day) for day in waits.days]}
    insert = insert_into(session, ArrivalRow).values(
        model=deployment.model, domain=deployment.domain, **values
    )
    session.execute(insert.on_conflict_do_update(index_elements=["model", "domain"], set_=values))


def label_ticks(session: Session, deployment: Deployment, since: datetime) -> LabelTicks:
    """Judged cohort ticks that had rows, with how many of those had labels."""
    since_us = int(since.timestamp() * 1e6)
    rows = _ticks(session, deployment, Clock.FEATURE, since_us)
    labels = _ticks(session, deployment, Clock.LABEL, since_us)
    found = [(end, count) for end, count in sorted(labels.items()) if rows.get(end)]
    return LabelTicks(
        tuple(to_datetime(end) for end, _ in found), tuple(count for _, count in found)
    )


def rows_since(session: Session, deployment: Deployment, since_us: int) -> int:
    """How many rows of event time from `since_us` on have been judged."""
    return sum(_ticks(session, deployment, Clock.FEATURE, since_us).values())


def _ticks(session: Session, deployment: Deployment, clock: Clock, since_us: int) -> dict[int, int]:
    """Rows by the end of their tick. Two profiles that saw one tick saw the same rows."""
    end = (SummaryRow.start_us + SummaryRow.tick_us).label("end_us")
    query = (
        select(end, func.max(SummaryRow.rows))
        .where(
            SummaryRow.model == deployment.model,
            SummaryRow.domain == deployment.domain,
            SummaryRow.clock == clock.value,
            SummaryRow.start_us >= since_us,
        )
        .group_by(end)
    )
    return {int(end_us): int(rows) for end_us, rows in session.execute(query)}
