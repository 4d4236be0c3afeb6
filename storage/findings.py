"""What detectors saw, one row a finding. Saving the same history again adds nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from detectors.records import Deployment, Finding, Tier
from storage.engine import insert_into
from storage.tables import FindingRow


def save_findings(session: Session, deployment: Deployment, findings: Iterable[Finding]) -> None:
    """Store findings. One of the same instant, kind and stream is there already and stays.

    So a rebuild, which saves old alarms with tier `log`, cannot demote what was told.
    """
    values = [
        {
            "model": deployment.model,
            "domain": deployment.domain,
            "ts": finding.ts,
            "onset": finding.onset,
            "kind": finding.kind,
            "stream": finding.stream,
            "tier": finding.tier.value,
            "column": finding.column,
            "slice": finding.slice,
            "evidence": finding.evidence,
            "effect": finding.effect,
            "detail": finding.detail,
        }
        for finding in findings
    ]
    if values:
        insert = insert_into(session, FindingRow)
        session.connection().execute(insert.on_conflict_do_nothing(), values)


def list_findings(
    session: Session,
    deployment: Deployment,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    tier: Tier | None = None,
    limit: int = 1000,
) -> tuple[Finding, ...]:
    """Findings with `since <= ts < until`, newest first, at most `limit`."""
    query = select(FindingRow).where(
        FindingRow.model == deployment.model, FindingRow.domain == deployment.domain
    )
    if since is not None:
        query = query.where(FindingRow.ts >= since)
    if until is not None:
        query = query.where(FindingRow.ts < until)
    if tier is not None:
        query = query.where(FindingRow.tier == tier.value)
    ordered = query.order_by(FindingRow.ts.desc(), FindingRow.id.desc()).limit(limit)
    return tuple(_finding(row) for row in session.scalars(ordered))


def last_finding_id(session: Session) -> int:
    """Where counting may begin: the id of the newest finding, 0 where there is none."""
    return session.scalar(select(func.max(FindingRow.id))) or 0


def count_findings(
    session: Session, after_id: int
) -> tuple[int, dict[tuple[Deployment, Tier], int]]:
    """Findings newer than an id by deployment and tier, and the newest id among them.

    Reads only what is new, so that asking every few seconds stays cheap whatever the history.
    """
    newest = last_finding_id(session)
    query = (
        select(FindingRow.model, FindingRow.domain, FindingRow.tier, func.count())
        .where(FindingRow.id > after_id, FindingRow.id <= newest)
        .group_by(FindingRow.model, FindingRow.domain, FindingRow.tier)
    )
    counts = {
        (Deployment(model, domain), Tier(tier)): count
        for model, domain, tier, count in session.execute(query)
    }
    return max(newest, after_id), counts


def _finding(row: FindingRow) -> Finding:
    return Finding(
        kind=row.kind,
        ts=row.ts,
        onset=row.onset,
        stream=row.stream,
        tier=Tier(row.tier),
        column=row.column,
        slice=row.slice,
        evidence=row.evidence,
        effect=row.effect,
        detail=row.detail,
    )
