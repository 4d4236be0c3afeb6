"""Silences as people asked for them, and what was held back by them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from alerts.holding import Hold, HoldKind
from alerts.records import Incident, Message, MessageType, Outcome
from alerts.silences import Silence
from storage.engine import insert_into, rows_changed
from storage.tables import AttemptRow, DeliveryRow, HeldRow, MessageRow, SilenceRow


class UnknownSilenceError(LookupError):
    """No silence has this id."""


@dataclass(frozen=True, slots=True)
class Held:
    """A message that was not sent. `settled_at` None: what held it may still end."""

    message_id: str
    incident_id: str
    type: MessageType
    hold: Hold
    held_at: datetime
    settled_at: datetime | None


def save_silence(session: Session, silence: Silence) -> None:
    """Store a silence as it is now."""
    values = {
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "record": msgspec.json.encode(silence).decode(),
    }
    insert = insert_into(session, SilenceRow).values(id=silence.id, **values)
    session.execute(insert.on_conflict_do_update(index_elements=["id"], set_=values))


def get_silence(session: Session, silence_id: str, *, lock: bool = False) -> Silence:
    """One silence; UnknownSilenceError."""
    query = select(SilenceRow.record).where(SilenceRow.id == silence_id)
    record = session.scalar(query.with_for_update() if lock else query)
    if record is None:
        msg = f"no silence {silence_id!r}; `kedge silence list` shows those there are"
        raise UnknownSilenceError(msg)
    return msgspec.json.decode(record, type=Silence)


def list_silences(
    session: Session, *, not_over_at: datetime | None = None, limit: int = 100
) -> tuple[Silence, ...]:
    """Silences, the one that ends last first; `not_over_at` leaves out what is over by then."""
    query = select(SilenceRow.record)
    if not_over_at is not None:
        query = query.where(SilenceRow.ends_at > not_over_at)
    ordered = query.order_by(SilenceRow.ends_at.desc(), SilenceRow.id).limit(limit)
    return tuple(msgspec.json.decode(r, type=Silence) for r in session.scalars(ordered))


def save_hold(session: Session, message: Message, hold: Hold, now: datetime) -> None:
    """Note that a message is held, also in the delivery log. Twice is once."""
    insert = insert_into(session, HeldRow).values(
        message_id=message.id,
        incident_id=message.incident_id,
        type=message.type.value,
        kind=hold.kind.value,
        by=hold.by,
        words=hold.words,
        held_at=now,
        settled_at=now if hold.kind is HoldKind.UNTOLD else None,
    )
    if rows_changed(session, insert.on_conflict_do_nothing()):
        session.add(
            AttemptRow(
                message_id=message.id,
                channel="",
                attempt=0,
                at=now,
                outcome=Outcome.HELD.value,
                duration_ms=0,
                words=hold.words,
                detail={"kind": hold.kind.value, "by": hold.by},
            )
        )
        session.flush()


def unsettled_holds(session: Session, limit: int = 1_000) -> tuple[Held, ...]:
    """What is held and has not been looked at since its reason ended, the oldest first."""
    query = (
        select(HeldRow)
        .where(HeldRow.settled_at.is_(None))
        .order_by(HeldRow.held_at, HeldRow.message_id)
        .limit(limit)
    )
    return tuple(map(_held, session.scalars(query)))


def holds_of(session: Session, incident_id: str) -> tuple[Held, ...]:
    """Every message of an incident that was held, in order of time."""
    query = (
        select(HeldRow)
        .where(HeldRow.incident_id == incident_id)
        .order_by(HeldRow.held_at, HeldRow.message_id)
    )
    return tuple(map(_held, session.scalars(query)))


def settle(session: Session, message_ids: Iterable[str], now: datetime) -> int:
    """Note that what held these messages is over; how many of them nobody had settled before."""
    statement = (
        update(HeldRow)
        .where(HeldRow.message_id.in_(list(message_ids)), HeldRow.settled_at.is_(None))
        .values(settled_at=now)
    )
    return rows_changed(session, statement)


def channels_told(session: Session, incident_id: str) -> tuple[str, ...]:
    """The channels to which some message of an incident was given, in order of name."""
    query = (
        select(DeliveryRow.channel)
        .join(MessageRow, MessageRow.id == DeliveryRow.message_id)
        .where(MessageRow.incident_id == incident_id)
        .distinct()
        .order_by(DeliveryRow.channel)
    )
    return tuple(session.scalars(query))


def told_since(session: Session, incident: Incident, now: datetime) -> tuple[str, datetime] | None:
    """By which message, and when, people were told of an incident as it is now; None: nobody was.

    The first message of its present tier since it was last opened. It counts from its arrival;
    one that could not be delivered counts from when it was written, and one that waits for the
    end of quiet hours not at all.
    """
    query = (
        select(MessageRow, DeliveryRow)
        .join(DeliveryRow, DeliveryRow.message_id == MessageRow.id)
        .where(MessageRow.incident_id == incident.id)
        .order_by(MessageRow.enqueued_at, MessageRow.created_at, MessageRow.id)
    )
    told: dict[str, datetime] = {}
    for message, delivery in session.execute(query):
        if message.type == MessageType.OPENED.value and message.id not in told:
            told = {}
        if message.tier != incident.tier.value:
            continue
        untried = delivery.attempts == 0 and delivery.dead_at is None
        if untried and delivery.due_at is not None and delivery.due_at > now:
            continue
        at = delivery.delivered_at or message.enqueued_at
        told[message.id] = min(at, told.get(message.id, at))
    return next(iter(told.items()), None)


def withdraw(session: Session, message_id: str) -> int:
    """Take a message back from channels that have not been tried yet; how many.

    One that was ever claimed may have arrived, though its process died before it could say so.
    """
    found = session.scalars(
        select(DeliveryRow).where(
            DeliveryRow.message_id == message_id,
            DeliveryRow.due_at.is_not(None),
            DeliveryRow.attempts == 0,
            DeliveryRow.epoch == 0,
        )
    ).all()
    for delivery in found:
        session.delete(delivery)
    session.flush()
    return len(found)


def withdraw_incident(session: Session, incident_id: str) -> tuple[str, ...]:
    """Take back every message about an incident that waits untried; which ones.

    Retraining requests are not about what people are told, and stay.
    """
    waiting = select(MessageRow.id).where(
        MessageRow.incident_id == incident_id,
        MessageRow.type.not_like("retraining.%"),
    )
    found = session.scalars(waiting).all()
    return tuple(message_id for message_id in found if withdraw(session, message_id))


def _held(row: HeldRow) -> Held:
    return Held(
        message_id=row.message_id,
        incident_id=row.incident_id,
        type=MessageType(row.type),
        hold=Hold(HoldKind(row.kind), row.by, row.words),
        held_at=row.held_at,
        settled_at=row.settled_at,
    )
