"""What trouble with one channel means for all that waits for it.

A receiver that hangs or asks for less must not be called once for every waiting message, and must
not keep other channels waiting meanwhile. Holding costs a message none of its attempts. All of it
is one row a channel, so that processes which share a database see the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, or_, select, update
from sqlalchemy.orm import Session

from alerts.pace import Pace
from storage.engine import insert_into, rows_changed
from storage.tables import ChannelStateRow, DeliveryRow


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel fares. `failures` counts those in a row that were the receiver's trouble."""

    channel: str
    failures: int = 0
    held_until: datetime | None = None
    disabled_at: datetime | None = None
    disabled_words: str = ""


def channel_state(session: Session, channel: str) -> ChannelState:
    """How one channel fares."""
    row = session.get(ChannelStateRow, channel, populate_existing=True)
    return ChannelState(channel) if row is None else _state(row)


def channel_states(session: Session) -> dict[str, ChannelState]:
    """How every channel fares that ever had trouble or a pace."""
    return {row.channel: _state(row) for row in session.scalars(select(ChannelStateRow))}


def resting(now: datetime) -> Select[str]:
    """The channels that are not to be called at `now`, as a subquery."""
    return select(ChannelStateRow.channel).where(
        or_(ChannelStateRow.held_until > now, ChannelStateRow.disabled_at.is_not(None))
    )


def hold_channel(session: Session, channel: str, *, until: datetime) -> None:
    """Let nothing be claimed for `channel` before `until`, and count one more failure in a row."""
    row = _locked(session, channel)
    row.failures += 1
    row.held_until = max(row.held_until or until, until)
    session.flush()


def note_answer(session: Session, channel: str) -> None:
    """The receiver has answered: its failures are over. Changes nothing where there were none."""
    statement = (
        update(ChannelStateRow)
        .where(ChannelStateRow.channel == channel, ChannelStateRow.failures > 0)
        .values(failures=0)
    )
    rows_changed(session, statement)


def take_turn(session: Session, channel: str, pace: Pace, *, now: datetime) -> bool:
    """Use up one turn of a channel's pace; False if another process has taken it meanwhile."""
    row = _locked(session, channel)
    if row.held_until is not None and row.held_until > now:
        return False
    row.free_at, again = pace.take(row.free_at, now)
    if again > now:
        row.held_until = max(row.held_until or again, again)
    session.flush()
    return True


def disable_channel(session: Session, channel: str, *, now: datetime, words: str) -> int:
    """Send nothing more until somebody enables it; what waits becomes dead letters. How many.

    What another process has claimed right now is left to it.
    """
    closed = close_channel(session, channel, now=now, words=words)
    row = _locked(session, channel)
    if row.disabled_at is None:
        row.disabled_at, row.disabled_words = now, words
    session.flush()
    return closed


def enable_channel(session: Session, channel: str) -> bool:
    """Let a channel be called again at once; False if nothing kept it. Dead letters stay dead."""
    statement = (
        update(ChannelStateRow)
        .where(
            ChannelStateRow.channel == channel,
            or_(ChannelStateRow.disabled_at.is_not(None), ChannelStateRow.held_until.is_not(None)),
        )
        .values(disabled_at=None, disabled_words="", held_until=None, failures=0)
    )
    return rows_changed(session, statement) == 1


def bring_holds_forward(session: Session, *, by: timedelta) -> None:
    """Holds and paces end `by` earlier: the clock was set back by that."""
    for row in session.scalars(select(ChannelStateRow).with_for_update()):
        row.held_until = None if row.held_until is None else row.held_until - by
        row.free_at = None if row.free_at is None else row.free_at - by


def disabled_with_work(session: Session) -> tuple[ChannelState, ...]:
    """Disabled channels that something has been enqueued for since."""
    query = select(ChannelStateRow).where(
        ChannelStateRow.disabled_at.is_not(None),
        ChannelStateRow.channel.in_(
            select(DeliveryRow.channel).where(DeliveryRow.due_at.is_not(None))
        ),
    )
    return tuple(_state(row) for row in session.scalars(query))


def close_channel(session: Session, channel: str, *, now: datetime, words: str) -> int:
    """Make dead letters of all that waits for `channel`, to be replayed by a person; how many."""
    free = or_(DeliveryRow.claimed_until.is_(None), DeliveryRow.claimed_until <= now)
    statement = (
        update(DeliveryRow)
        .where(DeliveryRow.channel == channel, DeliveryRow.due_at.is_not(None), free)
        .values(due_at=None, dead_at=now, last_error=words)
    )
    return rows_changed(session, statement)


def _locked(session: Session, channel: str) -> ChannelStateRow:
    """The channel's row, made if there is none, and nobody else's until the transaction ends."""
    insert = insert_into(session, ChannelStateRow).values(
        channel=channel, failures=0, disabled_words=""
    )
    session.execute(insert.on_conflict_do_nothing())
    query = select(ChannelStateRow).where(ChannelStateRow.channel == channel).with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one()


def _state(row: ChannelStateRow) -> ChannelState:
    return ChannelState(
        row.channel, row.failures, row.held_until, row.disabled_at, row.disabled_words
    )
