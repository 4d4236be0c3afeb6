"""A database of every revision there ever was, with rows in it, becomes one of today."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Connection,
    DateTime,
    Float,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    select,
    text,
)
from sqlalchemy.sql.schema import Column

from storage import migrations
from storage.engine import Database, open_database
from storage.migrations import (
    NewerDatabaseError,
    current_revision,
    head_revision,
    revisions,
    upgrade,
)
from tests.storage.rows import START

ROWS = 3
JSON_COLUMNS = {
    "status",
    "schema",
    "domains",
    "detail",
    "position",
    "learnt_schema",
    "scopes",
    "models",
}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        database = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
        yield database
        database.close()
        return
    url = request.getfixturevalue("postgres_url")
    database = open_database(f"{url}?options=-csearch_path%3Dolder%20-csynchronous_commit%3Doff")
    with database.writer.begin() as connection:
        connection.execute(text("CREATE SCHEMA older"))
    yield database
    with database.writer.begin() as connection:
        connection.execute(text("DROP SCHEMA older CASCADE"))
    database.close()


def tables_of(connection: Connection) -> dict[str, Table]:
    """The tables as the database itself describes them, without partitions and Alembic's own."""
    found = MetaData()
    found.reflect(connection)
    return {
        table.name: table
        for table in found.sorted_tables
        if table.name != "alembic_version" and not table.name.startswith("segments_")
    }


def value_for(column: Column[Any], number: int) -> Any:
    """Something a column takes; the same number gives the same text, so that keys agree."""
    kind = column.type
    if isinstance(kind, DateTime):
        return START if kind.timezone else START.replace(tzinfo=None)
    if isinstance(kind, LargeBinary):
        return b"body %d" % number
    if isinstance(kind, Boolean):
        return False
    if isinstance(kind, Text):
        return "{}" if column.name in JSON_COLUMNS else f"{number}"
    if isinstance(kind, Float) or (isinstance(kind, Numeric) and kind.asdecimal):
        return 0.5 + number
    return number


def fill(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Some rows in every table; what was put in."""
    filled = {}
    for name, table in tables_of(connection).items():
        rows = [
            {column.name: value_for(column, number) for column in table.columns}
            for number in range(1, ROWS + 1)
        ]
        connection.execute(table.insert(), rows)
        filled[name] = rows
    return filled


def plain(values: Iterable[Any]) -> list[str]:
    """Values as text, whatever a driver calls the zone of an instant."""
    return [
        repr(value.replace(tzinfo=None) if isinstance(value, datetime) else value)
        for value in values
    ]


@pytest.mark.parametrize("revision", revisions())
def test_rows_of_every_revision_survive_the_way_to_the_newest(
    empty: Database, revision: str
) -> None:
    upgrade(empty, revision)
    with empty.writer.begin() as connection:
        filled = fill(connection)
    upgrade(empty)
    assert current_revision(empty) == head_revision()
    with empty.reader.connect() as connection:
        tables = tables_of(connection)
        for name, rows in filled.items():
            if name not in tables:
                continue  # a revision may drop a table; its own test says what became of it
            kept = [column for column in tables[name].columns if column.name in rows[0]]
            found = [plain(row) for row in connection.execute(select(*kept))]
            wanted = [plain([row[column.name] for column in kept]) for row in rows]
            assert sorted(found) == sorted(wanted), name


@pytest.mark.parametrize("revision", revisions())
def test_keys_go_on_counting_after_an_upgrade(empty: Database, revision: str) -> None:
    """A sequence that lost its table would give numbers out twice."""
    upgrade(empty, revision)
    for n in (1, 2):
        insert = text(
            "INSERT INTO segments (model, received_at, since_us, until_us, rows, late_rows, "
            "domains, body) VALUES ('m', :at, 1, 1, 1, 0, '[]', :body)"
        )
        with empty.writer.begin() as connection:
            if n == 1:
                at = START if not empty.is_sqlite else START.replace(tzinfo=None)
                connection.execute(
                    text("INSERT INTO models (name, created_at) VALUES ('m', :at)"), {"at": at}
                )
            connection.execute(insert, {"at": at, "body": b"b"})
        upgrade(empty)
    with empty.reader.connect() as connection:
        found = connection.scalars(text("SELECT seq FROM segments ORDER BY seq")).all()
    assert found == [1, 2]


def test_a_database_of_a_newer_kedge_is_refused_and_left_alone(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(empty)
    with empty.writer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerDatabaseError, match="at revision 9999, which a newer Kedge made"):
        migrations.upgrade(empty)
    assert current_revision(empty) == "9999"
