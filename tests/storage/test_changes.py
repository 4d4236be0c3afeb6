from storage.changes import note_changes, read_changes, rows_of
from storage.engine import Database
from tests.storage.rows import undone


def test_changes_are_counted_once_a_transaction_and_topic(database: Database) -> None:
    with database.write() as session:
        note_changes(session, [rows_of("a"), rows_of("a"), rows_of("b")])
    with database.write() as session:
        note_changes(session, [rows_of("a")])
    with undone(database) as session:
        note_changes(session, [rows_of("b")])
    with database.read() as session:
        assert read_changes(session) == {"rows a": 2, "rows b": 1}
