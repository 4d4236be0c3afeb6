"""A test message through one channel, by the very way that alerts take; it is in no outbox."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TextIO

from alerts.bodies import iso
from alerts.notifiers import Nothing
from alerts.records import Message, MessageType, Outcome, Severity, message_id
from alerts.schedule import Reply, judge
from detectors.records import Deployment, Tier, to_us
from monitor.clock import Clock
from monitor.outgoing.delivery import Channel, Client, send_prepared


@dataclass(frozen=True, slots=True)
class Trial:
    """How a test message fared."""

    channel: str
    delivered: bool
    words: str
    status: int | None = None
    duration_ms: int = 0


def trial_message(channel: str, now: datetime) -> Message:
    """What is sent: nothing about any model, and it says so."""
    kind = MessageType.TEST
    found = message_id(channel, kind, to_us(now))
    headline = f"Kedge tests the channel {channel}; nothing is wrong with any model"
    data = {
        "id": found,
        "model": "kedge",
        "domain": "test",
        "headline": headline,
        "severity": Severity.LOW.value,
        "tier": Tier.TICKET.value,
        "action": {"kind": "nothing", "scope": "", "cadence": "", "falsified_by": ""},
        "evidence": [],
        "links": {},
    }
    return Message(
        id=found,
        type=kind,
        deployment=Deployment("kedge", "test"),
        incident_id="",
        tier=Tier.TICKET,
        severity=Severity.LOW,
        body={"type": kind.value, "timestamp": iso(now), "data": data},
        created_at=now,
    )


def try_channel(
    channel: Channel, *, client: Client, clock: Clock, console: TextIO | None = None
) -> Trial:
    """Send a test message now. Where it would open something, it is closed again at once."""
    message = trial_message(channel.name, clock.now())
    reply = _send(channel, message, client, clock, console)
    judged = judge(reply, message_id=message.id, attempt=0, now=clock.now())
    delivered = judged.outcome is Outcome.DELIVERED
    if delivered and getattr(channel.notifier, "resolves_tests", False):
        over = replace(message, type=MessageType.RESOLVED)
        _send(channel, over, client, clock, console)
    return Trial(channel.name, delivered, judged.words, reply.status, reply.duration_ms)


def _send(
    channel: Channel, message: Message, client: Client, clock: Clock, console: TextIO | None
) -> Reply:
    try:
        prepared = channel.notifier.prepare(message, clock.now())
        if isinstance(prepared, Nothing):
            return Reply(error=prepared.why, permanent=True)
        return send_prepared(prepared, channel, client, console)
    except Exception as error:  # a notifier of an installed package may do anything
        return Reply(error=f"the notifier failed with {type(error).__name__}")
