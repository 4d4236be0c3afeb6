from pathlib import Path

import pytest

from storage.backup import BackupError, backup, restore
from storage.engine import Database, open_database
from storage.inbox import read_window
from storage.migrations import current_revision, head_revision, upgrade
from tests.storage.rows import EVER, VERMONT, events, ids, known_model, send


def test_a_copy_of_a_running_database_is_whole(sqlite: Database, tmp_path: Path) -> None:
    identity = known_model(sqlite)
    send(identity, events([0]), ids(1))
    target = tmp_path / "copy.db"
    with sqlite.read() as reading:
        assert read_window(reading, VERMONT, *EVER).rows == 1
        backup(sqlite, target)
    send(identity, events([1]), ids(2))
    copy = open_database(f"sqlite:///{target}")
    with copy.read() as session:
        assert read_window(session, VERMONT, *EVER).numeric["x"].tolist() == [0]
    assert current_revision(copy) == head_revision()
    copy.close()
    backup(sqlite, target)
    copy = open_database(f"sqlite:///{target}")
    with copy.read() as session:
        assert read_window(session, VERMONT, *EVER).rows == 2
    copy.close()
    assert list(tmp_path.glob("*.unfinished")) == []


def test_a_copy_that_fails_leaves_the_one_before(sqlite: Database, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    backup(sqlite, target)
    before = target.read_bytes()
    (tmp_path / "copy.db.unfinished").mkdir()
    with pytest.raises(BackupError, match="no copy made"):
        backup(sqlite, target)
    assert target.read_bytes() == before


@pytest.mark.postgres
def test_a_copy_of_postgres_is_one_sqlite_file(postgres: Database, tmp_path: Path) -> None:
    identity = known_model(postgres)
    send(identity, events([0]), ids(1))
    target = tmp_path / "copy.db"
    backup(postgres, target)
    send(identity, events([1]), ids(2))
    assert [path.name for path in tmp_path.iterdir()] == ["copy.db"]
    copy = open_database(f"sqlite:///{target}")
    with copy.read() as session:
        assert read_window(session, VERMONT, *EVER).numeric["x"].tolist() == [0]
    assert current_revision(copy) == head_revision()
    copy.close()


@pytest.mark.postgres
def test_keys_go_on_behind_those_that_were_restored(postgres: Database, tmp_path: Path) -> None:
    """Otherwise the first batch after a restore would collide with an old one."""
    source = open_database(f"sqlite:///{tmp_path / 'source.db'}")
    upgrade(source)
    for number in range(5):
        send(known_model(source), events([number]), ids(number))
    backup(source, tmp_path / "copy.db")
    source.close()
    restore(tmp_path / "copy.db", postgres)
    assert send(known_model(postgres), events([9]), ids(9)).seq == 6
