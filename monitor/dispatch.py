"""Puts a message on its way, in the transaction of its cause: who gets it, and from when on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from alerts.records import Message
from alerts.routing import RoutingTable, destinations
from storage.outbox import enqueue


def post(session: Session, message: Message, routing: RoutingTable, now: datetime) -> bool:
    """Route a message into the outbox; False, and nothing changed, if it was there before.

    `now` is the wall clock: quiet hours are known here and nowhere earlier.
    """
    chosen = destinations(message, routing, now)
    return enqueue(
        session,
        message,
        [destination.channel for destination in chosen],
        now,
        not_before={d.channel: d.not_before for d in chosen if d.not_before is not None},
    )
