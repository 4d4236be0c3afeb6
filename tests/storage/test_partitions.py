"""Segments in partitions: made ahead, dropped whole, and never while a row is young."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from detectors.records import DAY_US
from storage.engine import Database, open_database
from storage.identity import Identity
from storage.inbox import read_window
from storage.migrations import upgrade
from storage.partitions import AHEAD, WEEK, drop_old_partitions, make_partitions, partition_names
from storage.retention import prune
from tests.storage.rows import DAY, EVER, START, VERMONT, events, ids, known_model
from tests.storage.rows import send as store

pytestmark = pytest.mark.postgres
MONDAY = START + timedelta(days=1)  # 2 March 2026
RAW = 4 * WEEK


@pytest.fixture
def weeks(postgres_url: str) -> Iterator[Database]:
    """A database of its own: other tests have no partitions but the rest."""
    database = open_database(
        f"{postgres_url}?options=-csearch_path%3Dweeks%20-csynchronous_commit%3Doff"
    )
    with database.writer.begin() as connection:
        connection.execute(text("CREATE SCHEMA weeks"))
    upgrade(database)
    yield database
    with database.writer.begin() as connection:
        connection.execute(text("DROP SCHEMA weeks CASCADE"))
    database.close()


def names(database: Database) -> list[str]:
    with database.read() as session:
        return list(partition_names(session))


def send(identity: Identity, day: int, *, received_at: datetime) -> None:
    store(identity, events([day * DAY_US]), ids(day), at=received_at)


def test_partitions_are_made_for_this_week_and_the_next_ones_once(weeks: Database) -> None:
    assert make_partitions(weeks, MONDAY) == AHEAD + 1
    assert make_partitions(weeks, MONDAY + 3 * DAY) == 0
    assert make_partitions(weeks, MONDAY + WEEK) == 1
    assert names(weeks)[:2] == ["segments_20260302", "segments_20260309"]


def test_a_week_goes_when_its_last_row_is_old_and_rows_are_read_across_weeks(
    weeks: Database,
) -> None:
    identity = known_model(weeks)
    for week in range(8):
        make_partitions(weeks, MONDAY + week * WEEK)
        send(identity, 7 * week + 1, received_at=MONDAY + week * WEEK + DAY)
    now = MONDAY + 7 * WEEK + DAY
    with weeks.read() as session:
        assert read_window(session, VERMONT, *EVER).rows == 8
    assert drop_old_partitions(weeks, now=now, raw=RAW) == (3, 3)
    with weeks.read() as session:
        window = read_window(session, VERMONT, *EVER)
    assert window.numeric["x"].tolist() == [(7 * week + 1) * DAY_US for week in range(3, 8)]
    assert "segments_20260302" not in names(weeks)


def test_a_model_that_has_gone_quiet_keeps_its_rows_and_others_are_deleted_one_by_one(
    weeks: Database,
) -> None:
    quiet, busy = known_model(weeks, "quiet"), known_model(weeks, "credit")
    make_partitions(weeks, MONDAY)
    send(quiet, 1, received_at=MONDAY)
    send(busy, 1, received_at=MONDAY)
    make_partitions(weeks, MONDAY + 20 * WEEK)
    send(busy, 140, received_at=MONDAY + 20 * WEEK)
    now = MONDAY + 20 * WEEK
    pruned = prune(weeks, now=now, raw=RAW, history=100 * WEEK, exact=False)
    assert (pruned.partitions, pruned.segments) == (5, 1)  # five empty weeks, one row
    with weeks.read() as session:
        assert read_window(session, VERMONT, *EVER).rows == 1
    assert "segments_20260302" in names(weeks)


def test_rows_that_will_soon_go_with_their_week_are_not_deleted_before(weeks: Database) -> None:
    identity = known_model(weeks)
    make_partitions(weeks, MONDAY)
    send(identity, 1, received_at=MONDAY)
    send(identity, 6, received_at=MONDAY + 5 * DAY)
    make_partitions(weeks, MONDAY + 5 * WEEK)
    send(identity, 1 + 30, received_at=MONDAY + 30 * DAY)
    now = MONDAY + 30 * DAY
    assert prune(weeks, now=now, raw=RAW, history=100 * WEEK, exact=False).segments == 0
    assert prune(weeks, now=now, raw=RAW, history=100 * WEEK).segments == 1


def test_a_week_that_is_being_read_stays_until_later(weeks: Database) -> None:
    """Nobody waits for a reader, and so nobody waits behind us."""
    identity = known_model(weeks)
    make_partitions(weeks, MONDAY)
    send(identity, 1, received_at=MONDAY)
    send(identity, 60, received_at=MONDAY + 8 * WEEK)
    now = MONDAY + 9 * WEEK
    with weeks.read() as session:
        assert read_window(session, VERMONT, *EVER).rows == 2
        assert drop_old_partitions(weeks, now=now, raw=RAW) == (0, 0)
    assert drop_old_partitions(weeks, now=now, raw=RAW)[1] == 1


def test_rows_of_a_week_without_a_partition_are_kept_and_pruned_too(weeks: Database) -> None:
    identity = known_model(weeks)
    send(identity, 1, received_at=MONDAY)
    assert make_partitions(weeks, MONDAY) == AHEAD  # the rest holds a row of this week
    send(identity, 60, received_at=MONDAY + DAY)
    assert prune(weeks, now=MONDAY + 9 * WEEK, raw=RAW, history=100 * WEEK).segments == 1
