"""Where reading a pull source goes on. Saved together with the rows it covers, so none is lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.engine import insert_into, rows_changed
from storage.tables import SourceRow


class StalePositionError(RuntimeError):
    """Another process has read from this source since. Load its position again."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a source goes on: plain JSON values only it understands. `epoch` counts the saves."""

    source: str
    epoch: int
    value: Any
    updated_at: datetime


def load_position(session: Session, source: str) -> Position | None:
    """Where to go on, or None for a source never read."""
    row = session.get(SourceRow, source, populate_existing=True)
    return None if row is None else Position(row.name, row.epoch, row.position, row.updated_at)


def list_positions(session: Session) -> tuple[Position, ...]:
    """Every source by name, for showing."""
    query = select(SourceRow).order_by(SourceRow.name)
    return tuple(
        Position(row.name, row.epoch, row.position, row.updated_at)
        for row in session.scalars(query)
    )


def save_position(session: Session, source: str, value: Any, now: datetime, *, epoch: int) -> int:
    """Go on from `value`, having loaded `epoch` (0: never read); returns the new epoch.

    Call it in the transaction that stores the rows. StalePositionError where another process
    was faster: raising it undoes those rows, which that process has stored.
    """
    values = {"epoch": epoch + 1, "position": value, "updated_at": now}
    if epoch:
        statement = (
            update(SourceRow)
            .where(SourceRow.name == source, SourceRow.epoch == epoch)
            .values(**values)
        )
    else:
        statement = insert_into(session, SourceRow).values(name=source, **values)
        statement = statement.on_conflict_do_nothing()
    if rows_changed(session, statement) != 1:
        msg = f"source {source!r} is no longer at epoch {epoch}: another process has read from it"
        raise StalePositionError(msg)
    return epoch + 1
