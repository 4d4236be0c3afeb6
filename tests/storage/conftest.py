"""One database a test: a fresh SQLite file, and PostgreSQL where one is reachable."""

import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from storage.engine import Database, open_database
from storage.migrations import upgrade
from storage.tables import Base

DEFAULT_POSTGRES = "postgresql:///test"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with all tables, to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = open_database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL database of this test run's own, dropped at its end."""
    given = make_url(os.environ.get("KEDGE_TEST_POSTGRES_URL", DEFAULT_POSTGRES))
    server = create_engine(
        given.set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": 3},
    )
    name = f"kedge_test_{uuid.uuid4().hex[:12]}"
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    except SQLAlchemyError as error:
        server.dispose()
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        pytest.skip(f"no PostgreSQL at {given.render_as_string()}: {reason}")
    yield given.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> Iterator[Database]:
    """That database with all tables."""
    database = open_database(postgres_url)
    upgrade(database)
    yield database
    database.close()


@pytest.fixture
def sqlite(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database."""
    shutil.copy(migrated_sqlite, tmp_path / "kedge.db")
    database = open_database(f"sqlite:///{tmp_path / 'kedge.db'}")

    @event.listens_for(database.writer, "connect")
    def hurry(connection: sqlite3.Connection, _: object) -> None:
        # Tests end processes, not the power supply: a thousand waits for the disk prove nothing.
        connection.execute("PRAGMA synchronous = OFF")

    yield database
    database.close()


@pytest.fixture
def postgres(migrated_postgres: Database) -> Iterator[Database]:
    """An empty PostgreSQL database."""
    yield migrated_postgres
    with migrated_postgres.writer.begin() as connection:
        # TRUNCATE makes new files for each table, which takes longer than most tests.
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(delete(table))
        # Weeks that one test made, as a restore does, are not there for the next to drop.
        for name in connection.scalars(
            text(
                "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
                "WHERE inhparent = 'segments'::regclass AND relname <> 'segments_rest'"
            )
        ).all():
            connection.execute(text(f"DROP TABLE {name}"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database; each test that asks for it runs on SQLite and on PostgreSQL."""
    found: Database = request.getfixturevalue(request.param)
    return found
