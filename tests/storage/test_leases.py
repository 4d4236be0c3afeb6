import threading
from datetime import timedelta

import pytest

from storage.changes import note_changes, read_changes
from storage.engine import Database
from storage.leases import (
    Lease,
    LostLeaseError,
    extend_lease,
    hold_lease,
    list_leases,
    release_lease,
    take_lease,
)
from tests.storage.rows import START

LENGTH = timedelta(seconds=15)
SECOND = timedelta(seconds=1)


def take(database: Database, holder: str, after: timedelta = timedelta(0)) -> Lease | None:
    with database.write() as session:
        return take_lease(session, "check m", holder, now=START + after, length=LENGTH)


def must_take(database: Database, holder: str, after: timedelta = timedelta(0)) -> Lease:
    lease = take(database, holder, after)
    assert lease is not None
    return lease


def write_under(database: Database, lease: Lease) -> None:
    """Write something, and only then look at the lease."""
    with database.write() as session:
        note_changes(session, ["something"])
        hold_lease(session, lease)


def test_a_job_is_held_by_one_until_it_is_released(database: Database) -> None:
    mine = must_take(database, "a")
    assert take(database, "b", SECOND) is None
    assert take(database, "a", SECOND) is None
    with database.write() as session:
        assert release_lease(session, mine, done=7)
    theirs = must_take(database, "b", SECOND)
    assert (theirs.epoch, theirs.done) == (mine.epoch + 1, 7)
    with database.read() as session:
        assert list_leases(session) == (theirs,)


def test_a_lease_that_is_kept_alive_lasts_and_one_that_is_not_runs_out(database: Database) -> None:
    mine = must_take(database, "a")
    with database.write() as session:
        longer = extend_lease(session, mine, now=START + 10 * SECOND, length=LENGTH)
    assert longer.held_until == START + 25 * SECOND
    assert take(database, "b", 24 * SECOND) is None
    assert take(database, "b", 25 * SECOND) is not None


def test_who_slept_too_long_can_neither_write_nor_extend_nor_release(database: Database) -> None:
    """However its clock stands: the epoch decides, inside the transaction that writes."""
    slept = must_take(database, "a")
    awake = must_take(database, "b", 2 * LENGTH - SECOND)
    with pytest.raises(LostLeaseError, match="'check m' is no longer at epoch 1"):
        write_under(database, slept)
    with pytest.raises(LostLeaseError), database.write() as session:
        extend_lease(session, slept, now=START, length=LENGTH)
    with database.write() as session:
        assert not release_lease(session, slept, done=99)
        hold_lease(session, awake)
    with database.read() as session:
        assert list_leases(session) == (awake,)
        assert read_changes(session) == {}


def test_a_lease_from_before_the_clock_was_set_back_is_free(database: Database) -> None:
    must_take(database, "a", timedelta(hours=1))
    assert take(database, "b") is not None


@pytest.mark.postgres
def test_nobody_takes_a_job_while_its_holder_writes_even_if_the_lease_ran_out(
    postgres: Database,
) -> None:
    mine = must_take(postgres, "a")
    with postgres.write() as session:
        hold_lease(session, mine)
        assert take(postgres, "b", 2 * LENGTH - SECOND) is None
    assert take(postgres, "b", 2 * LENGTH - SECOND) is not None


def test_of_many_that_ask_at_once_one_gets_it(database: Database) -> None:
    ready, found = threading.Barrier(6), []

    def ask(name: str) -> None:
        ready.wait()
        found.append(take(database, name))

    threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([lease for lease in found if lease is not None]) == 1
