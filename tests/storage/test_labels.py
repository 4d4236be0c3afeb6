import numpy as np
import pytest
from sqlalchemy import func, select

from detectors.records import DAY_US
from storage.deployments import UnknownModelError
from storage.engine import Database
from storage.identity import Identity
from storage.inbox import read_window
from storage.labels import append_labels, settle_waiting
from storage.tables import LabelRunRow
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
    undone,
)


def labels_of(database: Database, **options: object) -> list[float | None]:
    with database.read() as session:
        window = read_window(session, VERMONT, *EVER, **options)  # type: ignore[arg-type]
    assert window.label is not None
    return [None if np.isnan(label) else float(label) for label in window.label]


def test_a_label_after_its_event_is_joined_with_the_time_it_came(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0, 1, 2]), ids(1, 2, 3))
    receipt = tell(identity, ids(3, 1), [0.0, 1.0], after_us=70)
    assert not receipt.waiting.any()
    assert labels_of(database) == [1, None, 0]
    with database.read() as session:
        window = read_window(session, VERMONT, *EVER)
    assert window.label_ts_us is not None
    assert window.label_ts_us[[0, 2]].tolist() == [START_US + 70, START_US + 70]


def test_a_label_before_its_event_waits_for_it(database: Database) -> None:
    identity = known_model(database)
    assert tell(identity, ids(1, 2), [1.0, 0.0]).waiting.all()
    send(identity, events([0]), ids(1))
    assert labels_of(database) == [1]
    send(identity, events([DAY_US]), ids(2))
    assert labels_of(database) == [1, 0]


def test_filing_waiting_labels_changes_nothing_that_is_read(database: Database) -> None:
    identity = known_model(database)
    tell(identity, ids(1, 2, 3), [1.0, 0.0, 1.0])
    send(identity, events([0, DAY_US]), ids(1, 2))
    tell(identity, ids(1), [0.0])
    before = labels_of(database)
    with database.write() as session:
        assert settle_waiting(session, identity) == 2
    for reader in (identity, Identity(database, "credit")):
        with database.write() as session:
            assert settle_waiting(session, reader) == 0
        assert labels_of(database) == before == [1, 0]
        assert tell(reader, ids(1, 2, 3), [1.0, 0.0, 1.0]).duplicate.all()
    with database.read() as session:
        waiting = select(func.sum(LabelRunRow.rows)).where(LabelRunRow.day.is_(None))
        assert session.scalar(waiting) == 1


def test_a_label_sent_twice_is_stored_once(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0, 1]), ids(1, 2))
    tell(identity, ids(1, 2), [1.0, 0.0])
    again = tell(identity, ids(1, 2, 2), [1.0, 0.0, 0.0], after_us=5)
    assert again.duplicate.all()
    with database.read() as session:
        assert session.scalar(select(func.sum(LabelRunRow.rows))) == 2


def test_the_first_label_is_evidence_and_the_last_is_for_reports(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0, 1]), ids(1, 2))
    tell(identity, ids(1, 2), [1.0, 0.0])
    receipt = tell(identity, ids(1, 2), [0.0, 0.0], after_us=9)
    assert receipt.correction.tolist() == [True, False]
    assert receipt.duplicate.tolist() == [False, True]
    assert labels_of(database) == [1, 0]
    assert labels_of(database, corrected=True) == [0, 0]


def test_of_two_different_labels_in_one_batch_the_first_counts(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0]), ids(1))
    receipt = tell(identity, ids(1, 1, 1), [1.0, 0.0, 1.0])
    assert receipt.correction.tolist() == [False, True, False]
    assert receipt.duplicate.tolist() == [False, False, True]
    assert labels_of(database) == [1]
    assert labels_of(database, corrected=True) == [0]


def test_a_label_that_came_before_its_event_stays_the_first(database: Database) -> None:
    identity = known_model(database)
    tell(identity, ids(1), [1.0])
    send(identity, events([0]), ids(1))
    assert tell(identity, ids(1), [0.0]).correction.all()
    assert labels_of(database) == [1]
    identity.compact(START_US // DAY_US)
    with database.write() as session:
        settle_waiting(session, identity)
    assert tell(Identity(database, "credit"), ids(1), [1.0]).duplicate.all()


def test_labels_known_later_are_not_seen_earlier(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0, 1]), ids(1, 2))
    tell(identity, ids(1), [1.0], after_us=100)
    tell(identity, ids(2), [0.0], after_us=101)
    tell(identity, ids(1), [0.0], after_us=102)
    assert labels_of(database, labels_known_by_us=START_US + 99) == [None, None]
    assert labels_of(database, labels_known_by_us=START_US + 100) == [1, None]
    assert labels_of(database, labels_known_by_us=START_US + 101, corrected=True) == [1, 0]
    assert labels_of(database, labels_known_by_us=START_US + 102, corrected=True) == [0, 0]


def test_a_label_sent_along_with_its_event_is_its_first(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0, 1], label=np.array([1.0, np.nan])), ids(1, 2))
    tell(identity, ids(1, 2), [0.0, 0.0], after_us=50)
    assert labels_of(database) == [1, 0]
    assert labels_of(database, corrected=True) == [0, 0]
    assert labels_of(database, labels_known_by_us=START_US) == [1, None]


def test_labels_of_one_batch_reach_events_of_many_days(database: Database) -> None:
    identity = known_model(database)
    days = 12
    for day in range(days):
        send(identity, events([day * DAY_US]), ids(day), at=START + day * DAY)
    restarted = Identity(database, "credit", max_ids=3)
    order = np.random.default_rng(4).permutation(days)
    receipt = tell(restarted, ids(*order.tolist()), order.astype(float).tolist())
    assert not receipt.waiting.any()
    assert labels_of(database) == list(range(days))


def test_labels_of_a_failed_transaction_may_be_sent_again(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0]), ids(1))
    came = np.array([START_US])
    with undone(database) as session:
        append_labels(session, identity, *ids(1), np.array([1.0]), came, START)
    assert labels_of(database) == [None]
    assert not tell(identity, ids(1), [1.0]).duplicate.any()
    assert labels_of(database) == [1]


def test_labels_of_an_unknown_model_are_refused(database: Database) -> None:
    with pytest.raises(UnknownModelError, match="no model 'credit'; there is: none yet"):
        tell(Identity(database, "credit"), ids(1), [1.0])
