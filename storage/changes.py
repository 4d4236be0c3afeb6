"""What other processes should hear of, as numbers that only grow; they look now and then."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.engine import insert_into
from storage.tables import ChangeRow

REFERENCES = "references"
"""A reference was added, promoted or approved."""

PRUNED = "pruned"
"""Old rows went: what a process remembers of their ids is too much."""


def rows_of(model: str) -> str:
    """The topic of events, labels and flushes of a model."""
    return f"rows {model}"


def note_changes(session: Session, topics: Iterable[str]) -> None:
    """Count a change of each topic, seen by others when this transaction commits."""
    for topic in sorted(set(topics)):  # in one order, so that two writers never wait in a ring
        insert = insert_into(session, ChangeRow).values(topic=topic, number=1)
        session.execute(
            insert.on_conflict_do_update(
                index_elements=["topic"], set_={"number": ChangeRow.number + 1}
            )
        )


def read_changes(session: Session) -> dict[str, int]:
    """How often each topic has changed so far; topics that never did are not in it."""
    query = select(ChangeRow.topic, ChangeRow.number)
    return {row.topic: row.number for row in session.execute(query)}
