"""Sends what waits in the outbox: claim with a lease, send, mark.

A crash between sending and marking sends again under the same webhook-id; nothing is ever marked
before it was sent. Every attempt, whatever its end, is a line of the delivery log.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TextIO

import structlog

from alerts.notifiers import CONSOLE_URL, Notifier, Outgoing
from alerts.plain import plain
from alerts.records import Attempt, Delivery, Outcome
from alerts.schedule import Reply, judge
from monitor.addresses import Network
from monitor.clock import Clock
from storage.channels import close_channel, hold_channel
from storage.engine import Database
from storage.outbox import LostClaimError, claim_next, mark_delivered, mark_failed

LEASE = timedelta(minutes=2)
"""Far above the client's total deadline: a lease that runs out means a process that died."""

BATCH = 200

log = structlog.get_logger(__name__)


class Client(Protocol):
    """Sends one request; says how it ended instead of raising."""

    def send(self, outgoing: Outgoing, *, allowed: Sequence[Network] = ()) -> Reply:
        """One attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """A configured notifier and the networks it may reach beyond the public ones."""

    notifier: Notifier
    allowed: tuple[Network, ...] = ()

    @property
    def name(self) -> str:
        return self.notifier.name


@dataclass
class Channels:
    """The channels of a configuration, and those that answered 410 since it was loaded.

    A disabled channel stays so until the configuration is loaded again: that is the operator's
    word that its receiver is back. What waited for it are dead letters, which can be replayed.
    """

    by_name: Mapping[str, Channel]
    disabled: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one pass did, by outcome."""

    counts: Mapping[Outcome, int]

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
) -> Delivered:
    """Send what is due, at most `limit` attempts, until nothing is due or `stop` says so.

    Several threads and processes may do this at once: each attempt is claimed by one of them. No
    receiver, notifier or message can end the pass; only the database can (SQLAlchemyError).
    """
    for name in sorted(channels.disabled):
        _close(database, name, clock)
    counts = dict.fromkeys(Outcome, 0)
    for _ in range(limit):
        if stop():
            break
        with database.write() as session:
            delivery = claim_next(session, now=clock.now(), lease=lease)
        if delivery is None:
            break
        outcome = _deliver(database, channels, delivery, client, clock, console)
        counts[outcome] += 1
    return Delivered(counts)


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
    reply = _send(channels, delivery, client, clock, console)
    now = clock.now()
    judgement = judge(reply, message_id=delivery.message.id, attempt=delivery.attempt, now=now)
    attempt = Attempt(
        message_id=delivery.message.id,
        channel=delivery.channel,
        attempt=delivery.attempt,
        at=at,
        outcome=judgement.outcome,
        status=reply.status,
        duration_ms=reply.duration_ms,
        words=judgement.words,
        next_at=judgement.next_at,
    )
    try:
        with database.write() as session:
            if judgement.outcome is Outcome.DELIVERED:
                mark_delivered(session, delivery, attempt)
            else:
                mark_failed(session, delivery, attempt)
                if (until := judgement.hold_until) is not None:
                    hold_channel(session, delivery.channel, now=now, until=until)
    except LostClaimError as lost:
        log.warning("delivery.lost", channel=delivery.channel, reason=str(lost))
    if judgement.outcome is Outcome.DISABLED:
        channels.disabled.add(delivery.channel)
        _close(database, delivery.channel, clock)
    _tell(delivery, attempt)
    return judgement.outcome


def _send(
    channels: Channels,
    delivery: Delivery,
    client: Client,
    clock: Clock,
    console: TextIO | None,
) -> Reply:
    channel = channels.by_name.get(delivery.channel)
    if channel is None:
        return Reply(error="this channel is not configured (any more)", permanent=True)
    if delivery.channel in channels.disabled:
        return Reply(error=_DISABLED, permanent=True)
    try:
        outgoing = channel.notifier.prepare(delivery.message, clock.now())
        if outgoing.url == CONSOLE_URL:
            return _print(outgoing, console)
        return client.send(outgoing, allowed=channel.allowed)
    except Exception as error:
        # A notifier of an installed package may do anything. Its words may hold a secret: only
        # the kind of error and its place are kept, and the message is tried again as scheduled.
        reason = f"the notifier failed with {type(error).__name__}{_where(error)}"
        return Reply(error=reason)


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


_DISABLED = "the channel is disabled: its receiver answered 410"


def _close(database: Database, channel: str, clock: Clock) -> None:
    with database.write() as session:
        closed = close_channel(session, channel, now=clock.now(), words=_DISABLED)
    if closed:
        log.error("channel.disabled", channel=channel, dead=closed, reason=_DISABLED)


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
        case Outcome.RETRY:
            log.warning("message.failed", next_at=_written(attempt.next_at), **values)
        case Outcome.DEAD | Outcome.DISABLED:
            log.error("message.dead", **values)
