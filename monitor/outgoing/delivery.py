"""Sends what waits in the outbox: claim with a lease, send, mark.

A crash between sending and marking sends again under the same webhook-id; nothing is ever marked
before it was sent. Every attempt, whatever its end, is a line of the delivery log.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TextIO

import structlog
from sqlalchemy.orm import Session

from alerts.notifiers import (
    CONSOLE_URL,
    Letter,
    Nothing,
    Notifier,
    Outgoing,
    Prepared,
    Relayed,
    follows_state,
)
from alerts.pace import Pace
from alerts.plain import plain
from alerts.records import Attempt, Delivery, Outcome
from alerts.schedule import Judgement, Reply, judge
from alerts.telling import INCIDENT_TYPES
from monitor.clock import Clock
from monitor.outgoing.addresses import Network
from storage.channels import (
    channel_state,
    close_channel,
    disable_channel,
    disabled_with_work,
    hold_channel,
    note_answer,
)
from storage.engine import Database
from storage.outbox import (
    LostClaimError,
    claim_next,
    mark_delivered,
    mark_failed,
    newer_word,
    say_newer_again,
)

LEASE = timedelta(minutes=2)
"""Far above the client's total deadline: a lease that runs out means a process that died."""

BATCH = 200

log = structlog.get_logger(__name__)


class Client(Protocol):
    """Sends one request, letter or relayed text; says how it ended instead of raising."""

    def send(
        self, prepared: Outgoing | Letter | Relayed, *, allowed: Sequence[Network] = ()
    ) -> Reply:
        """One attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """A configured notifier, the networks it may reach beyond the public ones, and its pace."""

    notifier: Notifier
    allowed: tuple[Network, ...] = ()
    pace: Pace | None = None

    @property
    def name(self) -> str:
        return self.notifier.name


@dataclass(frozen=True)
class Channels:
    """The channels of a configuration."""

    by_name: Mapping[str, Channel]

    @property
    def paces(self) -> dict[str, Pace]:
        """Those that may not be called at will."""
        return {
            name: channel.pace for name, channel in self.by_name.items() if channel.pace is not None
        }


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one pass did, by outcome; and from decision to first attempt, how long each waited."""

    counts: Mapping[Outcome, int]
    waits_s: tuple[float, ...] = ()

    @property
    def attempts(self) -> int:
        return sum(self.counts.values())


def deliver_due(
    database: Database,
    channels: Channels,
    *,
    client: Client,
    clock: Clock,
    console: TextIO | None = None,
    lease: timedelta = LEASE,
    limit: int = BATCH,
    stop: Callable[[], bool] = lambda: False,
    only: str | None = None,
) -> Delivered:
    """Send what is due, at most `limit` attempts, until nothing is due or `stop` says so.

    Several threads and processes may do this at once: each attempt is claimed by one of them;
    `only` looks at one channel. No receiver, notifier or message can end the pass; only the
    database can (SQLAlchemyError).
    """
    close_disabled(database, clock)
    counts = dict.fromkeys(Outcome, 0)
    waits_s: list[float] = []
    for _ in range(limit):
        if stop():
            break
        with database.write() as session:
            delivery = claim_next(
                session, now=clock.now(), lease=lease, channel=only, paces=channels.paces
            )
        if delivery is None:
            break
        if delivery.attempt == 0 and delivery.enqueued_at is not None:
            waits_s.append(max(0.0, (clock.now() - delivery.enqueued_at).total_seconds()))
        outcome = _deliver(database, channels, delivery, client, clock, console)
        counts[outcome] += 1
    return Delivered(counts, tuple(waits_s))


def close_disabled(database: Database, clock: Clock) -> None:
    """What was enqueued for a disabled channel becomes dead letters, in sight and replayable."""
    with database.read() as session:
        found = disabled_with_work(session)
    for state in found:
        with database.write() as session:
            closed = close_channel(
                session, state.channel, now=clock.now(), words=state.disabled_words
            )
        if closed:
            log.error(
                "channel.closed", channel=state.channel, dead=closed, reason=state.disabled_words
            )


def _deliver(
    database: Database,
    channels: Channels,
    delivery: Delivery,
    client: Client,
    clock: Clock,
    console: TextIO | None,
) -> Outcome:
    """One attempt: send, judge, write down."""
    at = clock.now()
    if delivery.claimed_until is not None and at >= delivery.claimed_until:
        # We were stopped between claiming and sending: another process has it by now.
        log.warning("delivery.slept", channel=delivery.channel, message=delivery.message.id)
        return Outcome.RETRY
    reply = _send(database, channels, delivery, client, clock, console)
    now = clock.now()
    with database.read() as session:
        failures = channel_state(session, delivery.channel).failures
    judgement = _judged(reply, delivery, now, failures)
    attempt = Attempt(
        message_id=delivery.message.id,
        channel=delivery.channel,
        attempt=delivery.attempt,
        at=at,
        outcome=judgement.outcome,
        status=None if isinstance(reply, Nothing) else reply.status,
        duration_ms=0 if isinstance(reply, Nothing) else reply.duration_ms,
        words=judgement.words,
        next_at=judgement.next_at,
    )
    try:
        with database.write() as session:
            _write(session, delivery, attempt, judgement)
    except LostClaimError as lost:
        log.warning("delivery.lost", channel=delivery.channel, reason=str(lost))
    if _may_stand_last(channels, delivery, reply):
        with database.write() as session:
            again = say_newer_again(session, delivery, INCIDENT_TYPES, now)
        if again is not None:
            log.info("message.again", channel=delivery.channel, message=again)
    if judgement.outcome is Outcome.DISABLED:
        with database.write() as session:
            closed = disable_channel(session, delivery.channel, now=now, words=DISABLED)
        log.error("channel.disabled", channel=delivery.channel, dead=closed, reason=DISABLED)
    _tell(delivery, attempt)
    return judgement.outcome


def _may_stand_last(channels: Channels, delivery: Delivery, reply: Reply | Nothing) -> bool:
    """Whether a receiver that keeps state may now have an older word behind a newer one.

    This attempt has just been made, or an earlier claim of it came to no end that we know of: its
    process may have been stopped in the middle, and have sent long after.
    """
    channel = channels.by_name.get(delivery.channel)
    if channel is None or not follows_state(channel.notifier):
        return False
    if delivery.message.type not in INCIDENT_TYPES:
        return False
    unaccounted = delivery.epoch > delivery.attempt + 1
    return unaccounted or not isinstance(reply, Nothing)


def _judged(reply: Reply | Nothing, delivery: Delivery, now: datetime, failures: int) -> Judgement:
    if isinstance(reply, Nothing):
        return Judgement(Outcome.SKIPPED, plain(reply.why))
    return judge(
        reply,
        message_id=delivery.message.id,
        attempt=delivery.attempt,
        now=now,
        failures=failures,
    )


def _write(session: Session, delivery: Delivery, attempt: Attempt, judgement: Judgement) -> None:
    if judgement.outcome in {Outcome.DELIVERED, Outcome.SKIPPED}:
        mark_delivered(session, delivery, attempt)
    else:
        mark_failed(session, delivery, attempt)
    if (until := judgement.hold_until) is not None:
        hold_channel(session, delivery.channel, until=until)
    elif judgement.outcome is not Outcome.SKIPPED:
        note_answer(session, delivery.channel)


def _send(
    database: Database,
    channels: Channels,
    delivery: Delivery,
    client: Client,
    clock: Clock,
    console: TextIO | None,
) -> Reply | Nothing:
    channel = channels.by_name.get(delivery.channel)
    if channel is None:
        return Reply(error="this channel is not configured (any more)", permanent=True)
    if follows_state(channel.notifier) and delivery.message.type in INCIDENT_TYPES:
        with database.read() as session:
            newer = newer_word(session, delivery, INCIDENT_TYPES)
        if newer is not None:
            return Nothing(f"overtaken by {newer}, which says where the incident stands now")
    try:
        prepared = channel.notifier.prepare(delivery.message, clock.now())
        if isinstance(prepared, Nothing):
            return prepared
        return send_prepared(prepared, channel, client, console)
    except Exception as error:
        # A notifier of an installed package may do anything. Its words may hold a secret: only
        # the kind of error and its place are kept, and the message is tried again as scheduled.
        reason = f"the notifier failed with {type(error).__name__}{_where(error)}"
        return Reply(error=reason)


def send_prepared(
    prepared: Prepared, channel: Channel, client: Client, console: TextIO | None
) -> Reply:
    """One attempt of what a notifier has made, by the way it asks for."""
    if isinstance(prepared, Nothing):
        return Reply(status=200, error=prepared.why)
    if isinstance(prepared, Outgoing) and prepared.url == CONSOLE_URL:
        return _print(prepared, console)
    reply = client.send(prepared, allowed=channel.allowed)
    there = isinstance(prepared, Outgoing) and reply.status in prepared.accepted
    return replace(reply, accepted=True, error="it is there already") if there else reply


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""


def _print(outgoing: Outgoing, console: TextIO | None) -> Reply:
    if console is None:
        return Reply(error="this process has no console", permanent=True)
    try:
        console.write(outgoing.body.decode())
        console.flush()
    except (OSError, ValueError) as error:
        return Reply(error=f"the console failed with {type(error).__name__}")
    return Reply(status=200)


DISABLED = (
    "the channel is disabled: its receiver answered 410; `kedge channels enable` starts it again"
)


def _written(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _tell(delivery: Delivery, attempt: Attempt) -> None:
    values = {
        "channel": delivery.channel,
        "message": delivery.message.id,
        "type": delivery.message.type.value,
        "attempt": attempt.attempt,
        "duration_ms": attempt.duration_ms,
        "reason": plain(attempt.words),
    }
    match attempt.outcome:
        case Outcome.DELIVERED:
            log.info("message.delivered", **values)
        case Outcome.SKIPPED:
            log.info("message.skipped", **values)
        case Outcome.RETRY:
            log.warning("message.failed", next_at=_written(attempt.next_at), **values)
        case Outcome.DEAD | Outcome.DISABLED:
            log.error("message.dead", **values)
