"""Messages waiting to leave. A row is written in the same transaction as its cause.

At least once, with a constant id, in no promised order: claim with a lease, send, mark. A
process that dies in between leaves a claim that runs out, and another sends again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from alerts.pace import Pace
from alerts.records import (
    Attempt,
    Delivery,
    IncidentState,
    Message,
    MessageType,
    Outcome,
    Severity,
)
from detectors.records import Deployment, Tier
from storage.channels import bring_holds_forward, resting, take_turn
from storage.engine import insert_into, rows_changed
from storage.tables import AttemptRow, ChannelStateRow, DeliveryRow, IncidentRow, MessageRow
from storage.types import to_json

NEAR = 64
"""Of so many that are due longest, that of the earliest cause is next.

Sorting all that is due by its cause took 80 ms a claim behind an outbox of 10,000; an index gives
these. More processes than this cannot claim from one outbox at the same instant.
"""


class LostClaimError(RuntimeError):
    """The lease ran out and another process has claimed this delivery since."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(
            f"message {delivery.message.id} to {delivery.channel} was claimed by another process "
            f"after epoch {delivery.epoch}; lengthen the lease or send faster"
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that will not be sent again by itself, and why."""

    message: Message
    channel: str
    attempts: int
    dead_at: datetime
    last_error: str


@dataclass(frozen=True, slots=True)
class Told:
    """One line of an incident's delivery log. `attempt` None: not tried yet, due at `due_at`."""

    type: MessageType
    attempt: Attempt | None
    message_id: str = ""
    channel: str = ""
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that has neither arrived nor been given up. `last_error` "": not tried yet."""

    message: Message
    channel: str
    attempts: int
    due_at: datetime
    last_error: str


def enqueue(
    session: Session,
    message: Message,
    channels: Iterable[str],
    now: datetime,
    *,
    not_before: Mapping[str, datetime] | None = None,
) -> bool:
    """Put a message on its way to channels; False, and nothing changed, if it was before.

    One that no channel wants is kept for the record. A channel in `not_before` is not told
    earlier than that.
    """
    insert = insert_into(session, MessageRow).values(
        id=message.id,
        type=message.type.value,
        model=message.deployment.model,
        domain=message.deployment.domain,
        incident_id=message.incident_id,
        tier=message.tier.value,
        severity=message.severity.value,
        created_at=message.created_at,
        enqueued_at=now,
        body=to_json(dict(message.body)),
    )
    if rows_changed(session, insert.on_conflict_do_nothing()) == 0:
        return False
    for channel in dict.fromkeys(channels):
        session.execute(
            insert_into(session, DeliveryRow).values(
                message_id=message.id,
                channel=channel,
                attempts=0,
                due_at=(not_before or {}).get(channel, now),
                epoch=0,
                last_error="",
            )
        )
    return True


def claim_next(
    session: Session,
    *,
    now: datetime,
    lease: timedelta,
    channel: str | None = None,
    paces: Mapping[str, Pace] | None = None,
) -> Delivery | None:
    """Claim the delivery that is due longest for this process, or None if none is due.

    Two processes may pick the same row; only one UPDATE changes it. A claim whose lease has
    run out belongs to a process that died, and is free again; so is one that ends further ahead
    than two leases, which was made before the clock was set back. Of a channel that is
    held, disabled or has used up its pace nothing is due. `channel` looks for one channel alone.
    """
    ends = DeliveryRow.claimed_until
    free = or_(ends.is_(None), ends <= now, ends > now + 2 * lease)
    waiting = (DeliveryRow.due_at.is_not(None), DeliveryRow.due_at <= now, free)
    near = (
        select(DeliveryRow.message_id, DeliveryRow.channel)
        .where(*waiting, DeliveryRow.channel.not_in(resting(now)))
        .where(*() if channel is None else (DeliveryRow.channel == channel,))
        .order_by(DeliveryRow.due_at)
        .limit(NEAR)
        .subquery()
    )
    oldest = (
        select(DeliveryRow.message_id, DeliveryRow.channel, DeliveryRow.epoch)
        .join(
            near,
            and_(
                near.c.message_id == DeliveryRow.message_id, near.c.channel == DeliveryRow.channel
            ),
        )
        .join(MessageRow, MessageRow.id == DeliveryRow.message_id)
        .where(*waiting)
        # Messages of one check are due at once: their causes say which comes first.
        .order_by(
            DeliveryRow.due_at, MessageRow.created_at, DeliveryRow.message_id, DeliveryRow.channel
        )
        .limit(1)
        .with_for_update(skip_locked=True, of=DeliveryRow)
    )
    while picked := session.execute(oldest).first():
        message_id, name, epoch = picked
        pace = (paces or {}).get(name)
        if pace is not None and not take_turn(session, name, pace, now=now):
            continue
        claim = (
            update(DeliveryRow)
            .where(
                DeliveryRow.message_id == message_id,
                DeliveryRow.channel == name,
                DeliveryRow.epoch == epoch,
                *waiting,
            )
            .values(claimed_until=now + lease, epoch=epoch + 1)
        )
        if rows_changed(session, claim) == 1:
            return _claimed(session, message_id, name)
    return None


def channels_due(session: Session, now: datetime) -> tuple[str, ...]:
    """The channels that something is due for; another process may be at it already."""
    query = (
        select(DeliveryRow.channel)
        .where(DeliveryRow.due_at <= now, DeliveryRow.channel.not_in(resting(now)))
        .distinct()
    )
    return tuple(sorted(session.scalars(query)))


def newer_word(session: Session, delivery: Delivery, types: Iterable[MessageType]) -> str | None:
    """The id of a later message about the same incident on the same channel, or None.

    Later is by the incident's own count of its messages, whatever order they are tried in. One
    that was given up does not count.
    """
    later = _later_words(session, delivery, types)
    return max(later, key=lambda word: _sequence(word[0]))[0].id if later else None


def say_newer_again(
    session: Session, delivery: Delivery, types: Iterable[MessageType], now: datetime
) -> str | None:
    """Have the newest later word sent once more, if it has gone out or is going; its id, or None.

    For a word that may have reached its receiver behind one that is newer, out of another process
    that was stopped in between. Whoever has the newer word in hand loses its claim to it.
    """
    later = _later_words(session, delivery, types)
    if not later:
        return None
    newest, row = max(later, key=lambda word: _sequence(word[0]))
    going = row.claimed_until is not None and row.claimed_until > now
    if row.delivered_at is None and not going:
        return None  # it still waits, and so comes behind
    again = (
        update(DeliveryRow)
        .where(
            DeliveryRow.message_id == newest.id,
            DeliveryRow.channel == delivery.channel,
            DeliveryRow.epoch == row.epoch,
        )
        .values(due_at=now, delivered_at=None, claimed_until=None, epoch=row.epoch + 1)
    )
    return newest.id if rows_changed(session, again) == 1 else None


def _later_words(
    session: Session, delivery: Delivery, types: Iterable[MessageType]
) -> list[tuple[Message, DeliveryRow]]:
    """Later messages about the same incident on the same channel that were not given up."""
    incident_id, mine = delivery.message.incident_id, _sequence(delivery.message)
    if not incident_id:
        return []
    query = (
        select(MessageRow, DeliveryRow)
        .join(DeliveryRow, DeliveryRow.message_id == MessageRow.id)
        .where(
            MessageRow.incident_id == incident_id,
            MessageRow.id != delivery.message.id,
            MessageRow.type.in_([kind.value for kind in types]),
            DeliveryRow.channel == delivery.channel,
            DeliveryRow.dead_at.is_(None),
        )
    )
    found = [(_message(message), row) for message, row in session.execute(query)]
    return [(message, row) for message, row in found if _sequence(message) > mine]


def standing(session: Session, channel: str, types: Iterable[MessageType]) -> tuple[Message, ...]:
    """The newest word of each open incident that this channel has been given, oldest first."""
    query = (
        select(MessageRow)
        .join(IncidentRow, IncidentRow.id == MessageRow.incident_id)
        .join(AttemptRow, AttemptRow.message_id == MessageRow.id)
        .where(
            IncidentRow.state != IncidentState.RESOLVED.value,
            MessageRow.type.in_([kind.value for kind in types]),
            AttemptRow.channel == channel,
            AttemptRow.outcome == Outcome.DELIVERED.value,
        )
    )
    newest: dict[str, Message] = {}
    for row in session.scalars(query):
        message = _message(row)
        best = newest.get(message.incident_id)
        if best is None or _sequence(message) > _sequence(best):
            newest[message.incident_id] = message
    return tuple(sorted(newest.values(), key=lambda message: (message.created_at, message.id)))


def incident_log(session: Session, incident_id: str) -> tuple[Told, ...]:
    """Who was told of an incident, when, and what came back; what still waits is there too.

    Attempts in the order they were made, then what has not been tried yet.
    """
    tried = (
        select(MessageRow.type, AttemptRow)
        .join(MessageRow, MessageRow.id == AttemptRow.message_id)
        .where(MessageRow.incident_id == incident_id)
        .order_by(AttemptRow.at, AttemptRow.id)
    )
    lines = [Told(MessageType(kind), _attempt(row)) for kind, row in session.execute(tried)]
    untried = (
        select(MessageRow.type, DeliveryRow)
        .join(MessageRow, MessageRow.id == DeliveryRow.message_id)
        .where(
            MessageRow.incident_id == incident_id,
            DeliveryRow.due_at.is_not(None),
            DeliveryRow.attempts == 0,
        )
        .order_by(DeliveryRow.due_at, DeliveryRow.message_id, DeliveryRow.channel)
    )
    for kind, row in session.execute(untried):
        assert row.due_at is not None
        lines.append(Told(MessageType(kind), None, row.message_id, row.channel, row.due_at))
    return tuple(lines)


def last_delivered(session: Session) -> dict[str, datetime]:
    """When each channel was last given something."""
    query = (
        select(DeliveryRow.channel, func.max(DeliveryRow.delivered_at))
        .where(DeliveryRow.delivered_at.is_not(None))
        .group_by(DeliveryRow.channel)
    )
    return {channel: at for channel, at in session.execute(query) if at is not None}


def counts_by_channel(session: Session) -> dict[str, tuple[int, int]]:
    """How many deliveries wait and how many were given up, by channel."""
    query = select(
        DeliveryRow.channel,
        func.count(DeliveryRow.due_at),
        func.count(DeliveryRow.dead_at),
    ).group_by(DeliveryRow.channel)
    return {channel: (waiting, dead) for channel, waiting, dead in session.execute(query)}


def put_off(
    session: Session, channel: str, tiers: Iterable[Tier], *, now: datetime, until: datetime
) -> int:
    """Let nothing of these tiers be due on a channel before `until`; how many were put off.

    For quiet hours: what is tried again would fall into them. The end of a problem is told too
    late rather than at night.
    """
    own = select(MessageRow.id).where(MessageRow.tier.in_([tier.value for tier in tiers]))
    free = or_(DeliveryRow.claimed_until.is_(None), DeliveryRow.claimed_until <= now)
    statement = (
        update(DeliveryRow)
        .where(
            DeliveryRow.channel == channel,
            DeliveryRow.due_at < until,
            free,
            DeliveryRow.message_id.in_(own),
        )
        .values(due_at=until)
    )
    return rows_changed(session, statement)


def end_wait(session: Session, model: str, *, now: datetime, longest: timedelta) -> int:
    """Let go at once what waits untried for a model's check to end; how many deliveries.

    Nothing else waits less than `longest`, so what is due later waits for something else.
    """
    own = select(MessageRow.id).where(MessageRow.model == model)
    statement = (
        update(DeliveryRow)
        .where(
            DeliveryRow.due_at > now,
            DeliveryRow.due_at <= now + longest,
            DeliveryRow.attempts == 0,
            DeliveryRow.claimed_until.is_(None),
            DeliveryRow.message_id.in_(own),
        )
        .values(due_at=now)
    )
    return rows_changed(session, statement)


def mark_delivered(session: Session, delivery: Delivery, attempt: Attempt) -> None:
    """Note that a claimed delivery arrived. LostClaimError if another has claimed it since."""
    _finish(session, delivery, attempt, due_at=None, delivered_at=attempt.at, last_error="")


def mark_failed(session: Session, delivery: Delivery, attempt: Attempt) -> None:
    """Note a failure: again at `attempt.next_at`, or with None there, a dead letter.

    LostClaimError if another process has claimed the delivery since.
    """
    again = attempt.next_at
    _finish(
        session,
        delivery,
        attempt,
        due_at=again,
        dead_at=attempt.at if again is None else None,
        last_error=attempt.words,
    )


def list_waiting(session: Session, limit: int = 100) -> tuple[Waiting, ...]:
    """What is on its way, the next due first."""
    query = (
        select(DeliveryRow, MessageRow)
        .join(MessageRow, MessageRow.id == DeliveryRow.message_id)
        .where(DeliveryRow.due_at.is_not(None))
        .order_by(
            DeliveryRow.due_at, MessageRow.created_at, DeliveryRow.message_id, DeliveryRow.channel
        )
        .limit(limit)
    )
    found = []
    for delivery, message in session.execute(query):
        assert delivery.due_at is not None
        found.append(
            Waiting(
                _message(message),
                delivery.channel,
                delivery.attempts,
                delivery.due_at,
                delivery.last_error,
            )
        )
    return tuple(found)


def dead_letters(session: Session, limit: int = 100) -> tuple[DeadLetter, ...]:
    """What was given up, newest first."""
    query = (
        select(DeliveryRow, MessageRow)
        .join(MessageRow, MessageRow.id == DeliveryRow.message_id)
        .where(DeliveryRow.dead_at.is_not(None))
        .order_by(DeliveryRow.dead_at.desc(), DeliveryRow.message_id, DeliveryRow.channel)
        .limit(limit)
    )
    letters = []
    for delivery, message in session.execute(query):
        assert delivery.dead_at is not None
        letters.append(
            DeadLetter(
                _message(message),
                delivery.channel,
                delivery.attempts,
                delivery.dead_at,
                delivery.last_error,
            )
        )
    return tuple(letters)


def replay_dead(
    session: Session, now: datetime, *, message_id: str | None = None, channel: str | None = None
) -> int:
    """Put dead letters back on their way, under the same ids and from attempt 0; how many."""
    statement = update(DeliveryRow).where(DeliveryRow.dead_at.is_not(None))
    if message_id is not None:
        statement = statement.where(DeliveryRow.message_id == message_id)
    if channel is not None:
        statement = statement.where(DeliveryRow.channel == channel)
    values = {"dead_at": None, "due_at": now, "claimed_until": None, "attempts": 0}
    return rows_changed(session, statement.values(**values))


def bring_forward(session: Session, *, now: datetime, by: timedelta) -> int:
    """Let what is due later be due `by` earlier, at most now: the clock was set back by that."""
    later = session.scalars(
        select(DeliveryRow).where(DeliveryRow.due_at > now).with_for_update(skip_locked=True)
    ).all()
    for row in later:
        assert row.due_at is not None
        row.due_at = max(now, row.due_at - by)
    bring_holds_forward(session, by=by)
    session.flush()
    return len(later)


def waiting_count(session: Session) -> int:
    """How many deliveries have neither arrived nor been given up."""
    query = select(func.count()).select_from(DeliveryRow).where(DeliveryRow.due_at.is_not(None))
    return session.scalar(query) or 0


def dead_count(session: Session) -> int:
    """How many deliveries were given up."""
    query = select(func.count()).select_from(DeliveryRow).where(DeliveryRow.dead_at.is_not(None))
    return session.scalar(query) or 0


def oldest_unsent_age(session: Session, now: datetime) -> timedelta | None:
    """How long the oldest message has waited for one of its channels, or None if none waits."""
    enqueued_at = session.scalar(
        select(func.min(MessageRow.enqueued_at))
        .join(DeliveryRow, DeliveryRow.message_id == MessageRow.id)
        .where(DeliveryRow.due_at.is_not(None))
    )
    return None if enqueued_at is None else now - enqueued_at


def next_due_at(session: Session) -> datetime | None:
    """When the next delivery can be claimed, or None if none waits."""
    query = (
        select(func.min(DeliveryRow.due_at), ChannelStateRow.held_until)
        .outerjoin(ChannelStateRow, ChannelStateRow.channel == DeliveryRow.channel)
        .where(DeliveryRow.due_at.is_not(None), ChannelStateRow.disabled_at.is_(None))
        .group_by(DeliveryRow.channel, ChannelStateRow.held_until)
    )
    due = [max(at, held or at) for at, held in session.execute(query) if at is not None]
    return min(due, default=None)


def get_message(session: Session, message_id: str) -> Message | None:
    """A message by its webhook-id, or None."""
    row = session.get(MessageRow, message_id)
    return None if row is None else _message(row)


def list_messages(session: Session, incident_id: str) -> tuple[Message, ...]:
    """Every message about an incident in order of time."""
    query = (
        select(MessageRow)
        .where(MessageRow.incident_id == incident_id)
        .order_by(MessageRow.created_at, MessageRow.id)
    )
    return tuple(_message(row) for row in session.scalars(query))


def delivery_log(session: Session, message_id: str) -> tuple[Attempt, ...]:
    """Every attempt to deliver a message, in order."""
    query = select(AttemptRow).where(AttemptRow.message_id == message_id).order_by(AttemptRow.id)
    return tuple(_attempt(row) for row in session.scalars(query))


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        message_id=row.message_id,
        channel=row.channel,
        attempt=row.attempt,
        at=row.at,
        outcome=Outcome(row.outcome),
        status=row.status,
        duration_ms=row.duration_ms,
        words=row.words,
        next_at=row.next_at,
        detail=row.detail,
    )


def _sequence(message: Message) -> tuple[int, datetime]:
    """What orders the messages about one incident."""
    data = message.body.get("data")
    number = data.get("sequence") if isinstance(data, Mapping) else None
    return (number if isinstance(number, int) else 0, message.created_at)


def _finish(
    session: Session,
    delivery: Delivery,
    attempt: Attempt,
    *,
    due_at: datetime | None,
    last_error: str,
    delivered_at: datetime | None = None,
    dead_at: datetime | None = None,
) -> None:
    statement = (
        update(DeliveryRow)
        .where(
            DeliveryRow.message_id == delivery.message.id,
            DeliveryRow.channel == delivery.channel,
            DeliveryRow.epoch == delivery.epoch,
            DeliveryRow.claimed_until.is_not(None),
        )
        .values(
            attempts=delivery.attempt + 1,
            claimed_until=None,
            due_at=due_at,
            delivered_at=delivered_at,
            dead_at=dead_at,
            last_error=last_error,
        )
    )
    if rows_changed(session, statement) != 1:
        raise LostClaimError(delivery)
    session.add(
        AttemptRow(
            message_id=attempt.message_id,
            channel=attempt.channel,
            attempt=attempt.attempt,
            at=attempt.at,
            outcome=attempt.outcome.value,
            status=attempt.status,
            duration_ms=attempt.duration_ms,
            words=attempt.words,
            next_at=attempt.next_at,
            detail=dict(attempt.detail),
        )
    )
    session.flush()


def _claimed(session: Session, message_id: str, channel: str) -> Delivery:
    delivery, message = session.execute(
        select(DeliveryRow, MessageRow)
        .join(MessageRow, MessageRow.id == DeliveryRow.message_id)
        .where(DeliveryRow.message_id == message_id, DeliveryRow.channel == channel)
        .execution_options(populate_existing=True)
    ).one()
    return Delivery(
        message=_message(message),
        channel=channel,
        attempt=delivery.attempts,
        epoch=delivery.epoch,
        due_at=delivery.due_at,
        claimed_until=delivery.claimed_until,
        enqueued_at=message.enqueued_at,
    )


def _message(row: MessageRow) -> Message:
    return Message(
        id=row.id,
        type=MessageType(row.type),
        deployment=Deployment(row.model, row.domain),
        incident_id=row.incident_id,
        tier=Tier(row.tier),
        severity=Severity(row.severity),
        body=json.loads(row.body),
        created_at=row.created_at,
    )
