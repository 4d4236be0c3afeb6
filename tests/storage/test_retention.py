from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from alerts.records import Outcome
from detectors.records import DAY_US
from storage.engine import Database
from storage.inbox import read_window
from storage.outbox import dead_letters, get_message, mark_delivered, mark_failed
from storage.references import Role, add_reference, save_profile
from storage.rejections import Rejection, list_rejections, note_rejections
from storage.retention import Pruned, prune
from storage.summaries import Clock, StoredSummary, read_summaries, save_summaries
from storage.tables import AttemptRow, IdRunRow, LabelRunRow, SegmentRow
from tests.storage.rows import (
    DAY,
    EVER,
    START,
    START_US,
    VERMONT,
    events,
    ids,
    known_model,
    send,
    tell,
)
from tests.storage.test_outbox import attempt, claim, message, must_claim, put
from tests.storage.test_references import SCHEMA

WEEK = 7 * DAY


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_events_ids_and_labels_go_when_they_are_old(database: Database) -> None:
    identity = known_model(database)
    for day in range(10):
        send(identity, events([day * DAY_US]), ids(day))
        tell(identity, ids(day), [1.0])
    pauses: list[int] = []
    pruned = prune(
        database,
        now=START + 10 * DAY,
        raw=WEEK,
        history=WEEK,
        at_once=2,
        pause=lambda: pauses.append(1),
    )
    assert pruned == Pruned(segments=2, id_runs=2, label_runs=2)
    assert len(pauses) == 3
    identity.forget()
    with database.read() as session:
        window = read_window(session, VERMONT, *EVER)
    assert window.numeric["x"].tolist() == [day * DAY_US for day in range(2, 10)]
    assert window.label is not None
    assert window.label.tolist() == [1] * 8
    assert not send(identity, events([0]), ids(0)).duplicate.any()
    assert send(identity, events([5 * DAY_US]), ids(5)).duplicate.all()


def test_a_day_that_is_only_partly_old_keeps_its_ids(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([1, DAY_US - 1]), ids(1, 2))
    pruned = prune(database, now=START + WEEK + DAY / 2, raw=WEEK, history=WEEK)
    assert pruned == Pruned()
    assert count(database, SegmentRow) == count(database, IdRunRow) == 1


def test_labels_wait_for_their_event_no_longer_than_the_retention(database: Database) -> None:
    identity = known_model(database)
    tell(identity, ids(1), [1.0], at=START)
    tell(identity, ids(2), [1.0], at=START + DAY)
    pruned = prune(database, now=START + WEEK + timedelta(hours=1), raw=WEEK, history=WEEK)
    assert pruned == Pruned(label_runs=1)
    assert count(database, LabelRunRow) == 1


def test_a_history_that_is_old_by_the_clock_stays_until_event_time_moves_on(
    database: Database,
) -> None:
    identity = known_model(database)
    for day in range(3):
        send(identity, events([day * DAY_US]), ids(day))
    years_later = START + 1000 * DAY
    assert prune(database, now=years_later, raw=WEEK, history=WEEK) == Pruned()
    send(identity, events([9 * DAY_US]), ids(9))
    assert prune(database, now=years_later, raw=WEEK, history=WEEK).segments == 2


def test_summaries_stay_while_their_reference_is_active(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([70 * DAY_US]), ids(0))

    def new_reference(fingerprint: str) -> None:
        with database.write() as session:
            added = add_reference(
                session, "credit", "VT", Role.ONBOARDING, events([0]), SCHEMA, START
            )
            save_profile(session, added.id, fingerprint, b"profile", START)

    def kept() -> list[str]:
        with database.read() as session:
            return [
                profile
                for profile in ("p1", "p2", "orphan")
                for _ in read_summaries(session, VERMONT, Clock.FEATURE, profile, tick_us=DAY_US)
            ]

    new_reference("p1")
    with database.write() as session:
        save_summaries(
            session,
            VERMONT,
            [
                StoredSummary(Clock.FEATURE, profile, DAY_US, START_US, 1, b"")
                for profile in ("p1", "p2", "orphan")
            ],
        )
    later = START + 10 * WEEK
    assert prune(database, now=later, raw=20 * WEEK, history=WEEK).summaries == 0
    assert prune(database, now=later, raw=WEEK, history=WEEK).summaries == 2
    assert kept() == ["p1"]
    new_reference("p2")
    assert prune(database, now=later, raw=WEEK, history=WEEK).summaries == 1
    assert kept() == []


def test_delivered_messages_go_and_dead_letters_and_waiting_ones_stay(database: Database) -> None:
    put(database, message("sent"))
    delivery = must_claim(database)
    with database.write() as session:
        mark_delivered(session, delivery, attempt(delivery, Outcome.DELIVERED, START))
    put(database, message("dead"))
    delivery = must_claim(database)
    with database.write() as session:
        mark_failed(session, delivery, attempt(delivery, Outcome.DEAD, START))
    put(database, message("half"), to=["hook", "slack"])
    delivery = must_claim(database)
    with database.write() as session:
        mark_delivered(session, delivery, attempt(delivery, Outcome.DELIVERED, START))
    assert claim(database) is not None
    put(database, message("fresh"), at=START + WEEK)
    put(database, message("unwanted"), to=[])
    pruned = prune(database, now=START + WEEK + DAY, raw=WEEK, history=WEEK)
    assert pruned == Pruned(messages=2, deliveries=1, attempts=1)
    with database.read() as session:
        found = [
            name
            for name in ("sent", "dead", "half", "fresh", "unwanted")
            if get_message(session, name) is not None
        ]
        assert found == ["dead", "half", "fresh"]
        assert [letter.message.id for letter in dead_letters(session)] == ["dead"]
    assert count(database, AttemptRow) == 2


@pytest.mark.parametrize(("age", "left"), [(6, 1), (9, 0)])
def test_counts_of_rejections_go_with_history(database: Database, age: int, left: int) -> None:
    rejection = Rejection("VT", START_US // DAY_US, "age", "missing", 1, "null")
    with database.write() as session:
        note_rejections(session, "credit", [rejection])
    pruned = prune(database, now=START + age * DAY, raw=WEEK, history=WEEK)
    assert pruned == Pruned(rejections=1 - left)
    with database.read() as session:
        assert len(list_rejections(session, "credit")) == left


def test_a_sqlite_file_gives_back_what_was_pruned(sqlite: Database) -> None:
    identity = known_model(sqlite)
    for day in range(10):
        rows = list(range(day * DAY_US, day * DAY_US + 4_000))
        send(identity, events(rows), ids(*range(day * 4_000, day * 4_000 + 4_000)))

    def pages() -> int:
        with sqlite.read() as session:
            return int(session.scalar(text("PRAGMA page_count")) or 0)

    before = pages()
    prune(sqlite, now=START + 10 * DAY, raw=DAY, history=WEEK)
    assert pages() < before / 2
