"""Letting go of what is old, a little at a time, so that writers never wait long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, exists, select, text, tuple_
from sqlalchemy.orm import Session

from detectors.records import DAY_US, to_us
from storage.engine import Database, rows_changed
from storage.partitions import drop_old_partitions
from storage.references import ReferenceStatus
from storage.tables import (
    AttemptRow,
    DeliveryRow,
    IdRunRow,
    LabelRunRow,
    MessageRow,
    ModelRow,
    ReferenceProfileRow,
    ReferenceRow,
    RejectionRow,
    SegmentRow,
    SummaryRow,
)

WAITS_TO_BE_DROPPED = timedelta(days=8)
"""How much longer than asked segments may lie on PostgreSQL, to go with their whole week."""

PAGES_AT_ONCE = 2_000
SLACK = 0.2
"""Free pages below this share of a SQLite file are kept: new rows will want them."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many stored rows went, by what they were (not events: a segment holds many).

    `segments` counts those that went with one of the `partitions` as well.
    """

    segments: int = 0
    partitions: int = 0
    id_runs: int = 0
    label_runs: int = 0
    summaries: int = 0
    rejections: int = 0
    attempts: int = 0
    deliveries: int = 0
    messages: int = 0


def prune(
    database: Database,
    *,
    now: datetime,
    raw: timedelta,
    history: timedelta,
    at_once: int = 200,
    pause: Callable[[], None] = lambda: None,
    exact: bool = True,
) -> Pruned:
    """Delete events, ids and labels `raw` older than their model's latest event, and old history.

    Event time counts from the latest event, so that a history sent in late is not gone at once;
    a latest event in the future counts as `now`. Labels still waiting for their event go by the
    time they were received. Summaries older than `raw` go unless an active reference has their
    profile. Delivered messages, their log and counts of rejections go after `history`;
    incidents, findings, references, retraining requests and dead letters stay. Each transaction
    deletes at most `at_once` rows; `pause` is called between them. Empty the memory of each
    `Identity` afterwards with `forget()`.

    PostgreSQL drops partitions whose rows are all old. Without `exact`, segments there may wait
    for that up to `WAITS_TO_BE_DROPPED` longer; with it, the rest is deleted at once. A SQLite
    file gives back what it no longer needs.
    """
    with database.read() as session:
        latest = session.execute(select(ModelRow.name, ModelRow.latest_event_us)).all()
    counts: Counter[str] = Counter()
    counts["partitions"], counts["segments"] = drop_old_partitions(database, now=now, raw=raw)
    patience = timedelta(0) if exact or database.is_sqlite else WAITS_TO_BE_DROPPED
    patience_us = patience // timedelta(microseconds=1)
    for model, latest_us in latest:
        if latest_us is not None:
            raw_us = min(to_us(now), latest_us) - raw // timedelta(microseconds=1)
            for name, query in _raw_of(model, raw_us, patience_us).items():
                counts[name] += _delete_all(database, query.limit(at_once), at_once, pause)
    old = now - history
    sent = select(DeliveryRow.message_id).where(
        DeliveryRow.message_id == MessageRow.id, DeliveryRow.delivered_at.is_(None)
    )
    forgotten = (MessageRow.enqueued_at < old, ~exists(sent))
    chosen = {
        "label_runs": select(LabelRunRow.seq).where(
            LabelRunRow.day.is_(None), LabelRunRow.received_at < now - raw
        ),
        "rejections": select(*RejectionRow.__table__.primary_key).where(
            RejectionRow.day < to_us(old) // DAY_US
        ),
        "attempts": select(AttemptRow.id).where(
            AttemptRow.message_id.in_(select(MessageRow.id).where(*forgotten))
        ),
        "deliveries": select(DeliveryRow.message_id, DeliveryRow.channel).where(
            DeliveryRow.message_id.in_(select(MessageRow.id).where(*forgotten))
        ),
        "messages": select(MessageRow.id).where(
            MessageRow.enqueued_at < old,
            ~exists(select(DeliveryRow.channel).where(DeliveryRow.message_id == MessageRow.id)),
        ),
    }
    for name, query in chosen.items():
        counts[name] += _delete_all(database, query.limit(at_once), at_once, pause)
    if database.is_sqlite:
        _give_back(database, pause)
    return Pruned(**counts)


def _give_back(database: Database, pause: Callable[[], None]) -> None:
    """Shorten a SQLite file by what it no longer needs, a few pages a transaction.

    Does nothing to a file that was not made with auto_vacuum; `VACUUM` would change it.
    """
    while True:
        with database.write() as session:
            free = session.scalar(text("PRAGMA freelist_count")) or 0
            if free <= SLACK * (session.scalar(text("PRAGMA page_count")) or 0):
                return
            # One step of it frees one page; only the driver itself can be asked for all of them.
            driver: Any = session.connection().connection.driver_connection
            driver.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
            if (session.scalar(text("PRAGMA freelist_count")) or 0) == free:
                return
        pause()


def _raw_of(model: str, raw_us: int, patience_us: int) -> dict[str, Select[Any]]:
    """What of a model is older than an instant of event time; segments by `patience_us` more."""
    first_day = raw_us // DAY_US
    in_use = (
        select(ReferenceProfileRow.fingerprint)
        .join(ReferenceRow, ReferenceRow.id == ReferenceProfileRow.reference_id)
        .where(ReferenceRow.status == ReferenceStatus.ACTIVE.value)
    )
    return {
        "segments": select(SegmentRow.seq).where(
            SegmentRow.model == model, SegmentRow.until_us < raw_us - patience_us
        ),
        "id_runs": select(IdRunRow.seq).where(IdRunRow.model == model, IdRunRow.day < first_day),
        "label_runs": select(LabelRunRow.seq).where(
            LabelRunRow.model == model, LabelRunRow.day < first_day
        ),
        "summaries": select(*SummaryRow.__table__.primary_key).where(
            SummaryRow.model == model,
            SummaryRow.start_us < raw_us,
            SummaryRow.profile.not_in(in_use),
        ),
    }


def _delete_all(
    database: Database, query: Select[Any], at_once: int, pause: Callable[[], None]
) -> int:
    total = 0
    while True:
        with database.write() as session:
            gone = _delete_some(session, query)
        total += gone
        if gone < at_once:
            return total
        pause()


def _delete_some(session: Session, query: Select[Any]) -> int:
    key = list(query.selected_columns)
    table = key[0].table
    found = [tuple(row) for row in session.execute(query)]
    if not found:
        return 0
    return rows_changed(session, delete(table).where(tuple_(*key).in_(found)))
