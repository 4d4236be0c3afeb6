from dataclasses import replace

from storage.engine import Database
from storage.rejections import Rejection, list_rejections, note_rejections
from tests.storage.rows import known_model

REJECTION = Rejection("VT", 20_000, "age", "not a number", 3, "'abc'")


def test_counts_of_a_day_add_up_and_the_first_example_stays(database: Database) -> None:
    known_model(database)
    with database.write() as session:
        note_rejections(session, "credit", [REJECTION, replace(REJECTION, count=1, example="'x'")])
        note_rejections(session, "credit", [])
    with database.write() as session:
        note_rejections(session, "credit", [replace(REJECTION, count=5, example="'later'")])
    with database.read() as session:
        assert list_rejections(session, "credit") == (replace(REJECTION, count=9),)


def test_days_reasons_columns_and_domains_are_counted_apart(database: Database) -> None:
    kinds = [
        REJECTION,
        replace(REJECTION, day=20_001),
        replace(REJECTION, reason="missing"),
        replace(REJECTION, column=""),
        replace(REJECTION, domain="", count=9),
    ]
    with database.write() as session:
        note_rejections(session, "credit", kinds)
        note_rejections(session, "fraud", kinds)
    with database.read() as session:
        found = list_rejections(session, "credit")
        assert set(found) == set(kinds)
        assert [each.day for each in found[:2]] == [20_001, 20_000]
        assert found[1].count == 9
        assert list_rejections(session, "credit", domain="", since_day=20_000) == (kinds[4],)
        assert list_rejections(session, "credit", since_day=20_002) == ()


def test_a_very_long_example_is_cut(database: Database) -> None:
    with database.write() as session:
        note_rejections(session, "credit", [replace(REJECTION, example="é" * 10_000)])
    with database.read() as session:
        assert list_rejections(session, "credit")[0].example == "é" * 200
