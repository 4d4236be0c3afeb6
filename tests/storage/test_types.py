import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select, text

from storage.deployments import register_model
from storage.engine import Database
from storage.tables import ModelRow
from storage.types import to_json

HERE = timezone(timedelta(hours=5, minutes=30))


def test_an_instant_comes_back_aware_and_in_utc(database: Database) -> None:
    """SQLite keeps no zone: an instant stored as given would come back 5:30 off."""
    noon = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=HERE)
    with database.write() as session:
        register_model(session, "credit", noon)
    with database.read() as session:
        stored = session.scalar(select(ModelRow.created_at))
    assert stored == noon
    assert stored is not None
    assert stored.tzinfo is UTC
    assert stored.hour == 6


def test_what_lies_in_sqlite_is_utc_text_that_sorts_by_time(sqlite: Database) -> None:
    with sqlite.write() as session:
        register_model(session, "later", datetime(2026, 6, 1, 12, tzinfo=UTC))
        register_model(session, "earlier", datetime(2026, 6, 1, 13, tzinfo=HERE))
    with sqlite.read() as session:
        raw = session.execute(text("SELECT created_at FROM models ORDER BY created_at")).all()
    assert [row[0] for row in raw] == ["2026-06-01 07:30:00.000000", "2026-06-01 12:00:00.000000"]


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="a time without a zone"), database.write() as session:
        register_model(session, "credit", datetime(2026, 6, 1))  # noqa: DTZ001
    with database.read() as session:
        assert session.scalar(select(ModelRow.name)) is None


def test_equal_values_are_equal_json_text() -> None:
    assert to_json({"b": 1, "a": [1.5, None]}) == to_json({"a": [1.5, None], "b": 1})
    assert json.loads(to_json({"odd": "\x00 \ud800 ☃"})) == {"odd": "\x00 \ud800 ☃"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_json_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"value": value})
