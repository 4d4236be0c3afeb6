"""What trouble with one channel means for all that waits for it.

A receiver that hangs or asks for less must not be called once for every waiting message, and must
not keep other channels waiting meanwhile. Holding costs a message none of its attempts.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy.orm import Session

from storage.engine import rows_changed
from storage.tables import DeliveryRow


def hold_channel(session: Session, channel: str, *, now: datetime, until: datetime) -> int:
    """Let nothing that waits for `channel` be due before `until`; how many were put off.

    What another process has claimed right now is left to it.
    """
    statement = (
        update(DeliveryRow)
        .where(*_waiting(channel, now), DeliveryRow.due_at < until)
        .values(due_at=until)
    )
    return rows_changed(session, statement)


def close_channel(session: Session, channel: str, *, now: datetime, words: str) -> int:
    """Make dead letters of all that waits for `channel`, to be replayed by a person; how many."""
    statement = (
        update(DeliveryRow)
        .where(*_waiting(channel, now))
        .values(due_at=None, dead_at=now, last_error=words)
    )
    return rows_changed(session, statement)


def _waiting(channel: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    free = or_(DeliveryRow.claimed_until.is_(None), DeliveryRow.claimed_until <= now)
    return (DeliveryRow.channel == channel, DeliveryRow.due_at.is_not(None), free)
