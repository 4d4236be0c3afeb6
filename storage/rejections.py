"""What was refused at the door: how often on a day, why, and one example of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.engine import insert_into
from storage.tables import RejectionRow

EXAMPLE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Rejection:
    """Values of a column refused for one reason. `day` counts from 1970 UTC, by arrival.

    `domain` and `column` are "" where the value has none; `example` is cut to 200 characters.
    """

    domain: str
    day: int
    column: str
    reason: str
    count: int
    example: str


def note_rejections(session: Session, model: str, rejections: Iterable[Rejection]) -> None:
    """Add to the counts of a day. The first example of each kind stays."""
    summed: dict[tuple[str, int, str, str], Rejection] = {}
    for rejection in rejections:
        key = (rejection.domain, rejection.day, rejection.column, rejection.reason)
        before = summed.get(key)
        count = rejection.count + (before.count if before else 0)
        example = before.example if before else rejection.example[:EXAMPLE_CHARACTERS]
        summed[key] = Rejection(*key, count, example)
    if not summed:
        return
    values = [
        {
            "model": model,
            "domain": rejection.domain,
            "day": rejection.day,
            "column": rejection.column,
            "reason": rejection.reason,
            "count": rejection.count,
            "example": rejection.example,
        }
        for rejection in summed.values()
    ]
    insert = insert_into(session, RejectionRow)
    key_columns = ["model", "domain", "day", "column", "reason"]
    more = {"count": RejectionRow.count + insert.excluded["count"]}
    session.connection().execute(
        insert.on_conflict_do_update(index_elements=key_columns, set_=more), values
    )


def list_rejections(
    session: Session, model: str, *, domain: str | None = None, since_day: int | None = None
) -> tuple[Rejection, ...]:
    """Refusals of a model, newest day and largest count first."""
    query = select(RejectionRow).where(RejectionRow.model == model)
    if domain is not None:
        query = query.where(RejectionRow.domain == domain)
    if since_day is not None:
        query = query.where(RejectionRow.day >= since_day)
    ordered = query.order_by(
        RejectionRow.day.desc(),
        RejectionRow.count.desc(),
        RejectionRow.domain,
        RejectionRow.column,
        RejectionRow.reason,
    )
    return tuple(
        Rejection(row.domain, row.day, row.column, row.reason, row.count, row.example)
        for row in session.scalars(ordered)
    )
