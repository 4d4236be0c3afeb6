"""Tick summaries: small, additive, kept as long as their reference is active."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from detectors.records import Deployment
from storage.engine import insert_into
from storage.tables import SummaryRow


class Clock(StrEnum):
    """Which watermark closes the tick: of features and scores, or of labelled cohorts."""

    FEATURE = "feature"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class StoredSummary:
    """One tick from `start_us`, `tick_us` long. `profile` is the fingerprint of its cells."""

    clock: Clock
    profile: str
    tick_us: int
    start_us: int
    rows: int
    body: bytes


def save_summaries(
    session: Session, deployment: Deployment, summaries: Iterable[StoredSummary]
) -> None:
    """Store many at once. One of the same tick is replaced: summarising again is no news."""
    values = [
        {
            "model": deployment.model,
            "domain": deployment.domain,
            "clock": summary.clock.value,
            "profile": summary.profile,
            "tick_us": summary.tick_us,
            "start_us": summary.start_us,
            "rows": summary.rows,
            "body": summary.body,
        }
        for summary in summaries
    ]
    if not values:
        return
    insert = insert_into(session, SummaryRow)
    key = ["model", "domain", "clock", "profile", "tick_us", "start_us"]
    replaced = {"rows": insert.excluded.rows, "body": insert.excluded.body}
    session.connection().execute(
        insert.on_conflict_do_update(index_elements=key, set_=replaced), values
    )


def read_summaries(
    session: Session,
    deployment: Deployment,
    clock: Clock,
    profile: str,
    *,
    tick_us: int,
    since_us: int | None = None,
    until_us: int | None = None,
) -> Iterator[StoredSummary]:
    """Summaries with `since_us <= start < until_us` in order of time, a few hundred at a time."""
    query = select(SummaryRow.start_us, SummaryRow.rows, SummaryRow.body).where(
        SummaryRow.model == deployment.model,
        SummaryRow.domain == deployment.domain,
        SummaryRow.clock == clock.value,
        SummaryRow.profile == profile,
        SummaryRow.tick_us == tick_us,
    )
    if since_us is not None:
        query = query.where(SummaryRow.start_us >= since_us)
    if until_us is not None:
        query = query.where(SummaryRow.start_us < until_us)
    ordered = query.order_by(SummaryRow.start_us).execution_options(yield_per=256)
    for start_us, rows, body in session.execute(ordered):
        yield StoredSummary(clock, profile, tick_us, start_us, rows, body)


def last_summary_us(
    session: Session, deployment: Deployment, clock: Clock, profile: str, *, tick_us: int
) -> int | None:
    """The start of the latest stored tick, or None."""
    return session.scalar(
        select(func.max(SummaryRow.start_us)).where(
            SummaryRow.model == deployment.model,
            SummaryRow.domain == deployment.domain,
            SummaryRow.clock == clock.value,
            SummaryRow.profile == profile,
            SummaryRow.tick_us == tick_us,
        )
    )
