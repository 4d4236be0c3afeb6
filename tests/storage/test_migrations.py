from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from storage import migrations
from storage.engine import Database, open_database
from storage.migrations import current_revision, head_revision, upgrade
from storage.tables import Base


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        database = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
        yield database
        database.close()
        return
    url = request.getfixturevalue("postgres_url")
    # A schema of its own beside the one the other tests use.
    database = open_database(f"{url}?options=-csearch_path%3Dempty")
    with database.writer.begin() as connection:
        connection.execute(text("CREATE SCHEMA empty"))
    yield database
    with database.writer.begin() as connection:
        connection.execute(text("DROP SCHEMA empty CASCADE"))
    database.close()


def test_the_tables_are_made_from_nothing_and_twice_is_once(empty: Database) -> None:
    assert current_revision(empty) is None
    assert upgrade(empty) == head_revision()
    assert upgrade(empty) == head_revision()
    assert current_revision(empty) == head_revision()


def test_the_migrations_make_exactly_the_declared_tables(empty: Database) -> None:
    upgrade(empty)
    with empty.writer.begin() as connection:
        options = {"compare_type": True, "include_name": but_partitions}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def but_partitions(name: str | None, kind: str, _: Any) -> bool:
    return not (kind == "table" and (name or "").startswith("segments_"))


def test_a_step_that_fails_leaves_no_tables(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_and_fail(*arguments: Any, **options: Any) -> None:
        genuine(*arguments, **options)
        raise InterruptedError

    genuine = command.upgrade
    monkeypatch.setattr(command, "upgrade", run_and_fail)
    with pytest.raises(InterruptedError):
        migrations.upgrade(empty)
    with empty.reader.connect() as connection:
        assert inspect(connection).get_table_names() == []


def test_down_and_up_again_gives_the_same_tables(empty: Database) -> None:
    upgrade(empty)
    with empty.writer.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    upgrade(empty)
    with empty.reader.connect() as connection:
        found = set(inspect(connection).get_table_names()) - {"segments_rest"}
    assert found == {table.name for table in Base.metadata.sorted_tables} | {"alembic_version"}


@pytest.mark.postgres
def test_postgres_stores_blobs_outside_the_row_and_does_not_compress_them_again(
    migrated_postgres: Database,
) -> None:
    query = text(
        "SELECT c.relname, a.attstorage::text FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid "
        "WHERE t.typname = 'bytea' AND c.relkind IN ('r', 'p') "
        "AND c.relnamespace = 'public'::regnamespace"
    )
    with migrated_postgres.reader.connect() as connection:
        storage = dict(tuple(row) for row in connection.execute(query))
    assert storage.keys() > {"segments", "segments_rest", "id_runs", "checkpoints"}
    assert len([name for name in storage if not name.startswith("segments_")]) == 9
    assert set(storage.values()) == {"e"}


def test_the_migrations_are_found_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = open_database(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    upgrade(database)
    database.close()
    engine = create_engine(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert "segments" in inspect(engine).get_table_names()
    engine.dispose()
