import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from storage import engine
from storage.deployments import list_models, register_model
from storage.engine import Database, DatabaseUrlError, open_database, sqlite_warning
from storage.tables import DeploymentRow, ModelRow
from tests.storage.rows import START, undone


def test_an_error_inside_a_transaction_leaves_nothing(database: Database) -> None:
    with undone(database) as session:
        register_model(session, "credit", START)
        session.flush()
    with database.read() as session:
        assert list_models(session) == ()


def test_the_same_block_may_be_run_again_after_a_failure(database: Database) -> None:
    for transaction in (undone(database), database.write()):
        with transaction as session:
            register_model(session, "credit", START)
    with database.read() as session:
        assert list_models(session) == ("credit",)


def test_a_reading_session_cannot_write(database: Database) -> None:
    with database.read() as session, pytest.raises(DBAPIError):
        register_model(session, "credit", START)


def test_a_reading_session_sees_one_state_throughout(database: Database) -> None:
    with database.read() as session:
        assert list_models(session) == ()
        with database.write() as writing:
            register_model(writing, "credit", START)
        assert list_models(session) == ()
    with database.read() as session:
        assert list_models(session) == ("credit",)


def test_foreign_keys_are_enforced(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(DeploymentRow(model="nobody", domain="VT", created_at=START))


def test_sqlite_is_set_up_for_durability(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'new.db'}")
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "mmap_size": 0,
    }
    with database.write() as session:
        for pragma, value in wanted.items():
            found = session.execute(text(f"PRAGMA {pragma}")).scalar()
            assert found == value, pragma
    database.close()


def test_a_writing_transaction_holds_the_write_lock_from_its_start(
    sqlite: Database, tmp_path: Path
) -> None:
    """A deferred one would fail at its first write, however long others were ready to wait."""
    with sqlite.write() as session:
        session.execute(select(ModelRow)).all()
        other = sqlite3.connect(tmp_path / "kedge.db", timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_another_process_writing_too_long_is_an_error_and_not_a_loss(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 20)
    impatient = open_database(f"sqlite:///{tmp_path / 'kedge.db'}")
    with (
        sqlite.write() as session,
        pytest.raises(OperationalError, match="locked"),
        impatient.write(),
    ):
        session.execute(select(ModelRow)).all()
    with impatient.write() as session:
        register_model(session, "credit", START)
    impatient.close()


def test_threads_write_one_after_another(database: Database) -> None:
    with database.write() as session:
        register_model(session, "credit", START)
        session.add(
            DeploymentRow(model="credit", domain="VT", created_at=START, rows=0, late_rows=0)
        )

    def count() -> None:
        for _ in range(10):
            with database.write() as session:
                row = session.get_one(
                    DeploymentRow, ("credit", "VT"), with_for_update=True, populate_existing=True
                )
                row.rows += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.get_one(DeploymentRow, ("credit", "VT")).rows == 40


def test_writing_inside_writing_says_so_instead_of_waiting_forever(sqlite: Database) -> None:
    with (
        sqlite.write(),
        pytest.raises(RuntimeError, match="pass the outer session"),
        sqlite.write(),
    ):
        pass
    with sqlite.write() as session:
        register_model(session, "credit", START)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("mysql://root@localhost/kedge", "no support for 'mysql'"),
        ("kedge.db", "not a database URL: 'kedge.db'"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_a_remedy(url: str, words: str) -> None:
    with pytest.raises(DatabaseUrlError, match=words) as caught:
        open_database(url)
    assert "use sqlite:///kedge.db or postgresql://" in str(caught.value)


@pytest.mark.parametrize(
    ("version", "processes", "warned"),
    [
        ((3, 40, 1), 2, True),
        ((3, 40, 1), 1, False),
        ((3, 51, 2), 2, True),
        ((3, 51, 3), 2, False),
        ((3, 7, 0), 2, True),
        ((3, 6, 23), 2, False),
    ],
)
def test_the_operator_is_warned_of_the_log_reset_fault(
    version: tuple[int, ...], processes: int, warned: bool
) -> None:
    warning = sqlite_warning(version, writing_processes=processes)
    assert (warning is not None) == warned
    if warning:
        assert "PostgreSQL" in warning
