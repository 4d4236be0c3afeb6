import multiprocessing
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from alerts.records import Attempt, Delivery, Message, MessageType, Outcome, Severity
from detectors.records import Tier
from storage.engine import Database
from storage.outbox import (
    LostClaimError,
    bring_forward,
    claim_next,
    dead_count,
    dead_letters,
    delivery_log,
    enqueue,
    get_message,
    list_messages,
    list_waiting,
    mark_delivered,
    mark_failed,
    next_due_at,
    oldest_unsent_age,
    replay_dead,
    waiting_count,
)
from storage.tables import AttemptRow, DeliveryRow, MessageRow
from tests.storage.claimer import claim_all
from tests.storage.rows import START, VERMONT, undone

LEASE = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


def message(name: str = "msg_1", incident: str = "inc_1") -> Message:
    return Message(
        id=name,
        type=MessageType.OPENED,
        deployment=VERMONT,
        incident_id=incident,
        tier=Tier.PAGE,
        severity=Severity.HIGH,
        body={"type": "incident.opened", "data": {"headline": "☃ <b>", "evidence": [1.5, None]}},
        created_at=START,
    )


def put(
    database: Database, *messages: Message, to: Sequence[str] = ("hook",), at: datetime = START
) -> list[bool]:
    with database.write() as session:
        return [enqueue(session, each, to, at) for each in messages]


def claim(database: Database, at: datetime = START) -> Delivery | None:
    with database.write() as session:
        return claim_next(session, now=at, lease=LEASE)


def must_claim(database: Database, at: datetime = START) -> Delivery:
    delivery = claim(database, at)
    assert delivery is not None
    return delivery


def attempt(
    delivery: Delivery, outcome: Outcome, at: datetime, next_at: datetime | None = None
) -> Attempt:
    return Attempt(
        message_id=delivery.message.id,
        channel=delivery.channel,
        attempt=delivery.attempt,
        at=at,
        outcome=outcome,
        status=200 if outcome is Outcome.DELIVERED else 503,
        duration_ms=12,
        words="" if outcome is Outcome.DELIVERED else "HTTP 503",
        next_at=next_at,
        detail={"retry_after_s": 3},
    )


def test_a_message_comes_back_as_it_was_put(database: Database) -> None:
    assert put(database, message()) == [True]
    assert must_claim(database).message == message()
    with database.read() as session:
        assert get_message(session, "msg_1") == message()
        assert get_message(session, "msg_2") is None
        assert list_messages(session, "inc_1") == (message(),)


def test_putting_the_same_id_again_does_nothing(database: Database) -> None:
    assert put(database, message(), message()) == [True, False]
    delivery = must_claim(database)
    with database.write() as session:
        mark_delivered(session, delivery, attempt(delivery, Outcome.DELIVERED, START))
    assert put(database, message(), to=["hook", "slack"]) == [False]
    assert claim(database) is None


def test_a_message_is_written_with_its_cause_or_not_at_all(database: Database) -> None:
    with undone(database) as session:
        enqueue(session, message(), ["hook"], START)
    assert claim(database) is None
    with database.read() as session:
        assert get_message(session, "msg_1") is None


def test_each_channel_gets_its_own_delivery_once(database: Database) -> None:
    put(database, message(), to=["hook", "slack", "hook"])
    assert {must_claim(database).channel, must_claim(database).channel} == {"hook", "slack"}
    assert claim(database) is None


def test_a_claim_holds_for_its_lease_and_then_belongs_to_whoever_asks(database: Database) -> None:
    put(database, message())
    first = must_claim(database)
    assert claim(database, START + LEASE - SECOND) is None
    second = must_claim(database, START + LEASE)
    assert (first.epoch, second.epoch) == (1, 2)
    with database.write() as session, pytest.raises(LostClaimError, match="another process"):
        mark_delivered(session, first, attempt(first, Outcome.DELIVERED, START))
    with database.write() as session:
        mark_delivered(session, second, attempt(second, Outcome.DELIVERED, START + LEASE))
    with database.write() as session, pytest.raises(LostClaimError):
        mark_failed(session, second, attempt(second, Outcome.RETRY, START, START))
    with database.read() as session:
        assert len(delivery_log(session, "msg_1")) == 1


def test_a_failure_is_tried_again_when_due_under_the_same_id(database: Database) -> None:
    put(database, message())
    first = must_claim(database)
    later = START + 5 * SECOND
    tried = attempt(first, Outcome.RETRY, START, later)
    with database.write() as session:
        mark_failed(session, first, tried)
        assert next_due_at(session) == later
        assert oldest_unsent_age(session, START + SECOND) == SECOND
    assert claim(database, later - SECOND) is None
    second = must_claim(database, later)
    assert (second.message.id, second.attempt) == ("msg_1", 1)
    arrived = attempt(second, Outcome.DELIVERED, later)
    with database.write() as session:
        mark_delivered(session, second, arrived)
    with database.read() as session:
        assert delivery_log(session, "msg_1") == (tried, arrived)
        assert oldest_unsent_age(session, later) is None
        assert next_due_at(session) is None
        assert waiting_count(session) == dead_count(session) == 0


def test_what_is_given_up_stays_in_sight_and_can_be_sent_again(database: Database) -> None:
    put(database, message(), message("msg_2"))
    for _ in range(2):
        delivery = must_claim(database)
        with database.write() as session:
            mark_failed(session, delivery, attempt(delivery, Outcome.DEAD, START + SECOND))
    assert claim(database, START + timedelta(days=9)) is None
    with database.write() as session:
        assert oldest_unsent_age(session, START) is None
        assert dead_count(session) == 2
        letters = dead_letters(session)
        assert {letter.message.id for letter in letters} == {"msg_1", "msg_2"}
        assert letters[0].last_error == "HTTP 503"
        assert letters[0].attempts == 1
        assert replay_dead(session, START + LEASE, message_id="msg_2", channel="hook") == 1
        assert replay_dead(session, START + LEASE, channel="slack") == 0
    again = must_claim(database, START + LEASE)
    assert (again.message, again.attempt) == (message("msg_2"), 0)
    assert claim(database, START + LEASE) is None


def test_the_one_due_longest_goes_first(database: Database) -> None:
    put(database, message("b"), at=START + SECOND)
    put(database, message("c"), at=START)
    put(database, message("a"), at=START + 2 * SECOND)
    order = [must_claim(database, START + LEASE).message.id for _ in range(3)]
    assert order == ["c", "b", "a"]
    assert claim(database, START + LEASE) is None


def test_messages_of_one_check_go_in_the_order_of_their_causes(database: Database) -> None:
    """A history replayed fast queues months at one instant: no update may overtake its opening."""
    opened, updated = (
        replace(message(name), created_at=START + n * timedelta(days=1))
        for n, name in enumerate(("z", "a"))
    )
    put(database, updated, opened)
    with database.read() as session:
        assert [waiting.message.id for waiting in list_waiting(session)] == ["z", "a"]
    assert [must_claim(database).message.id for _ in range(2)] == ["z", "a"]


def test_what_waits_is_listed_next_due_first_and_without_what_is_done(database: Database) -> None:
    put(database, message("msg_2"), at=START + timedelta(minutes=1))
    put(database, message("msg_1"), message("msg_3"))
    delivered, again = must_claim(database), must_claim(database)
    assert (delivered.message.id, again.message.id) == ("msg_1", "msg_3")
    with database.write() as session:
        mark_delivered(session, delivered, attempt(delivered, Outcome.DELIVERED, START))
        later = START + timedelta(hours=1)
        mark_failed(session, again, attempt(again, Outcome.RETRY, START, later))
    with database.read() as session:
        found = list_waiting(session)
        assert [(w.message.id, w.attempts, w.last_error) for w in found] == [
            ("msg_2", 0, ""),
            ("msg_3", 1, "HTTP 503"),
        ]
        assert list_waiting(session, limit=1) == found[:1]


def test_a_message_no_channel_wants_is_kept_and_never_due(database: Database) -> None:
    assert put(database, message(), to=[]) == [True]
    assert claim(database) is None
    with database.read() as session:
        assert get_message(session, "msg_1") == message()
        assert oldest_unsent_age(session, START) is None


def test_threads_that_race_for_messages_claim_each_once(database: Database) -> None:
    put(database, *(message(f"msg_{number}") for number in range(12)))
    claimed: list[str] = []

    def work() -> None:
        while (delivery := claim(database)) is not None:
            claimed.append(delivery.message.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(f"msg_{number}" for number in range(12))


def test_processes_that_race_for_messages_claim_each_once(sqlite: Database) -> None:
    """No lock of ours spans processes. (On PostgreSQL not even threads share one, see above.)"""
    put(sqlite, *(message(f"msg_{number}") for number in range(20)))
    context = multiprocessing.get_context("spawn")
    start, found = context.Barrier(2), context.Queue()
    url = sqlite.url.render_as_string(hide_password=False)
    workers = [context.Process(target=claim_all, args=(url, start, found)) for _ in range(2)]
    for worker in workers:
        worker.start()
    claimed = [name for _ in workers for name in found.get(timeout=60)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(claimed) == sorted(f"msg_{number}" for number in range(20))


def test_a_row_claimed_between_looking_and_updating_is_not_claimed_again(
    sqlite: Database, tmp_path: Path
) -> None:
    """The epoch in the UPDATE is what decides; here it is moved on under the claim's feet."""
    put(sqlite, message())
    first = must_claim(sqlite)
    with sqlite3.connect(tmp_path / "kedge.db") as other:
        other.execute("UPDATE deliveries SET epoch = epoch + 1")
    other.close()
    with sqlite.write() as session, pytest.raises(LostClaimError):
        mark_delivered(session, first, attempt(first, Outcome.DELIVERED, START))
    with sqlite.read() as session:
        for table in (MessageRow, DeliveryRow):
            assert session.scalar(select(func.count()).select_from(table)) == 1
        assert session.scalar(select(func.count()).select_from(AttemptRow)) == 0


def test_a_clock_that_was_set_back_does_not_hold_up_what_was_due(database: Database) -> None:
    """Neither a retry that waits for a time an hour ahead, nor a claim of a process that died."""
    hour = timedelta(hours=1)
    put(database, message("retry"), message("fresh"), at=START + hour)
    delivery = must_claim(database, START + hour)
    with database.write() as session:
        again = START + hour + 30 * SECOND
        mark_failed(session, delivery, attempt(delivery, Outcome.RETRY, START + hour, again))
    assert claim(database, START) is None
    with database.write() as session:
        assert bring_forward(session, now=START, by=hour) == 2
    held = must_claim(database, START)
    assert held.message.id != delivery.message.id
    assert claim(database, START + 29 * SECOND) is None
    assert must_claim(database, START + 30 * SECOND).message.id == delivery.message.id
    put(database, message("dead process"), at=START - 2 * hour)
    must_claim(database, START + hour)
    assert must_claim(database, START - hour).message.id == "dead process"
