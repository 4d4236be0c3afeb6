import threading

import numpy as np
import pytest
from sqlalchemy import Connection, event, func, select

from detectors.records import DAY_US
from storage.engine import Database
from storage.identity import NO_DAY, Identity
from storage.inbox import append_events, read_window
from storage.tables import IdRunRow, LabelRunRow
from tests.storage.rows import (
    EVER,
    START,
    START_US,
    VERMONT,
    events,
    ids,
    known_model,
    send,
    tell,
    undone,
)

TODAY = START_US // DAY_US


def test_the_day_of_an_event_is_found_by_its_id(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0, DAY_US, 5 * DAY_US]), ids(1, 2, 3))
    with database.write() as session:
        days = identity.event_days(session, *ids(3, 9, 1, 2))
    assert days.tolist() == [TODAY + 5, NO_DAY, TODAY, TODAY + 1]


def test_compacting_a_day_keeps_its_ids_and_labels_in_one_row_each(database: Database) -> None:
    identity = known_model(database)
    for name in range(6):
        send(identity, events([name]), ids(name))
        tell(identity, ids(name), [1.0])
    tell(identity, ids(3), [0.0])
    send(identity, events([DAY_US]), ids(100))
    for _ in range(2):
        identity.compact(TODAY)
        with database.read() as session:
            for table, rows in ((IdRunRow, 6), (LabelRunRow, 7)):
                query = select(func.count(), func.sum(table.rows)).where(table.day == TODAY)
                assert session.execute(query).one() == (1, rows)
    for reader in (identity, Identity(database, "credit")):
        assert send(reader, events(list(range(6))), ids(*range(6))).duplicate.all()
        assert tell(reader, ids(*range(6)), [1.0] * 6).duplicate.all()
    with database.read() as session:
        window = read_window(session, VERMONT, *EVER)
        assert window.label is not None
        assert window.label[:6].tolist() == [1] * 6
        corrected = read_window(session, VERMONT, *EVER, corrected=True)
        assert corrected.label is not None
        assert corrected.label[:6].tolist() == [1, 1, 1, 0, 1, 1]


def test_a_day_loaded_while_a_transaction_is_open_holds_only_what_is_committed(
    database: Database,
) -> None:
    identity = known_model(database)
    with undone(database) as session:
        append_events(session, identity, events([0]), *ids(1), received_at=START)
        identity.forget()
        assert identity.known(session, *ids(1), np.array([START_US])).all()
    assert not send(identity, events([0]), ids(1)).duplicate.any()


def test_a_commit_whose_answer_was_lost_is_looked_up(sqlite: Database) -> None:
    """The sender is told of a failure and sends again; what did arrive must not count twice."""
    identity = known_model(sqlite)
    send(identity, events([0]), ids(1))

    def commit_and_fall_silent(connection: Connection) -> None:
        connection.exec_driver_sql("COMMIT")
        raise ConnectionError

    event.listen(sqlite.writer, "commit", commit_and_fall_silent)
    with pytest.raises(ConnectionError):
        send(identity, events([1]), ids(2))
    event.remove(sqlite.writer, "commit", commit_and_fall_silent)
    assert send(identity, events([1, 2]), ids(2, 3)).duplicate.tolist() == [True, False]


@pytest.mark.postgres
def test_two_processes_that_ingest_the_same_events_store_them_once(
    postgres: Database,
) -> None:
    """Each has a memory of its own; the lock on the model makes the second one catch up."""
    first = known_model(postgres)
    second = Identity(postgres, "credit")
    send(second, events([0]), ids(0))
    fresh = []

    def ingest(identity: Identity) -> None:
        for name in range(1, 20):
            receipt = send(identity, events([name]), ids(name))
            fresh.append(receipt.rows)

    threads = [threading.Thread(target=ingest, args=(each,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(fresh) == 19
    with postgres.read() as session:
        assert read_window(session, VERMONT, *EVER).rows == 20
