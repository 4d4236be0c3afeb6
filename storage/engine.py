"""Opening the database: one writer on SQLite, sessions for reading and for writing.

SQLite runs with a write-ahead log, full sync and BEGIN IMMEDIATE: a transaction that starts by
reading and then writes would fail at once, whatever the timeout, when another wrote in between.
One lock per process keeps writers in a line, so that none of them waits inside SQLite.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Executable, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

BUSY_TIMEOUT_MS = 5000
IDLE_MS = 60_000
"""After that PostgreSQL undoes a transaction whose process does not go on with it."""

WAL_RESET_FIXED_IN = (3, 51, 3)
"""SQLite 3.7.0 to 3.51.2 can corrupt a write-ahead log when several connections write."""


class DatabaseUrlError(ValueError):
    """The database URL names something Kedge cannot store in."""


class Database:
    """A database to read from and write to. Safe to share between threads, not across forks."""

    def __init__(self, url: URL, writer: Engine, reader: Engine) -> None:
        self.url = url
        self.writer = writer
        self.reader = reader
        self._writing = threading.Lock()
        self._writing_thread: int | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.writer.dialect.name == "sqlite"

    @property
    def path(self) -> Path | None:
        """The SQLite file, or None on PostgreSQL."""
        return Path(self.url.database or "") if self.is_sqlite else None

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session inside one transaction: committed at the end, nothing kept on an error.

        On SQLite one at a time per process, others wait here; another process holding the
        database longer than 5 s makes it raise sqlalchemy.exc.OperationalError. As nothing is
        kept then, the whole block may simply be run again. RuntimeError inside another
        `write()` of the same thread, which would otherwise wait for itself.
        """
        with (
            self._one_writer() if self.is_sqlite else nullcontext(),
            Session(self.writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            session.connection()  # takes the write lock now, not at the first statement
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database throughout and cannot change it."""
        with Session(self.reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        if self._writing_thread == threading.get_ident():
            msg = "write() inside write(): pass the outer session along instead"
            raise RuntimeError(msg)
        with self._writing:
            self._writing_thread = threading.get_ident()
            try:
                yield
            finally:
                self._writing_thread = None

    def close(self) -> None:
        """Close every connection. The database may be opened again."""
        self.reader.dispose()
        self.writer.dispose()


def open_database(url: str) -> Database:
    """Connect to `url`, which is `sqlite:///path` or `postgresql://…`. Creates no tables.

    DatabaseUrlError for anything else and for SQLite in memory, which a second connection
    cannot see. `migrations.upgrade(database)` makes or updates the tables.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Database(parsed, _sqlite(parsed, writes=True), _sqlite(parsed, writes=False))
    # Pools of their own: a writer that holds a lock must never wait for a connection to read
    # with, while those it keeps waiting hold them all.
    writer = create_engine(parsed, pool_pre_ping=True, hide_parameters=True)

    @event.listens_for(writer, "connect")
    def limit(connection: Any, _: object) -> None:
        # A process that is stopped in the middle of a transaction must not keep its locks.
        connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_MS}")
        connection.commit()

    reader = create_engine(
        parsed,
        pool_pre_ping=True,
        hide_parameters=True,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
    )
    return Database(parsed, writer, reader)


def sqlite_warning(version: tuple[int, ...], *, writing_processes: int) -> str | None:
    """Words for the operator when this SQLite may corrupt its log, else None."""
    if writing_processes < 2 or not (3, 7, 0) <= version < WAL_RESET_FIXED_IN:
        return None
    shown = ".".join(map(str, version))
    return (
        f"SQLite {shown} can corrupt its write-ahead log when several processes write "
        f"({writing_processes} do); run one process, use SQLite 3.51.3 or later, or PostgreSQL"
    )


def sqlite_version() -> tuple[int, ...]:
    """The SQLite this Python was built with."""
    return sqlite3.sqlite_version_info


def insert_into(session: Session, table: Any) -> Any:
    """An INSERT of the session's own dialect, which knows ON CONFLICT."""
    return insert_for(session.get_bind().dialect.name, table)


def insert_for(dialect: str, table: Any) -> Any:
    """An INSERT of a dialect, for statements built once."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert(table)


def rows_changed(session: Session, statement: Executable) -> int:
    """Run an UPDATE, DELETE or INSERT and count the rows it touched: how a race is won or lost."""
    options = {"preserve_rowcount": True}
    return int(session.connection().execute(statement, execution_options=options).rowcount)


def parse_url(url: str) -> URL:
    """The URL, with the driver Kedge uses; DatabaseUrlError for one it cannot store in."""
    remedy = "use sqlite:///kedge.db or postgresql://user@host/name"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # With an "@" there may be a password in it, in a place where nothing can find it.
        shown = "one with an @ that is not shown; write %40 and %2F inside a password"
        msg = f"not a database URL: {shown if '@' in url else repr(url)}; {remedy}"
        raise DatabaseUrlError(msg) from None if "@" in url else error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in {None, "", ":memory:"}:
            msg = f"SQLite in memory cannot be shared between connections; {remedy}"
            raise DatabaseUrlError(msg)
        return parsed
    if backend == "postgresql":
        if "@" in (parsed.database or "") + (parsed.host or ""):
            msg = f"not a database URL: write %40 and %2F inside a password; {remedy}"
            raise DatabaseUrlError(msg)
        return parsed.set(drivername="postgresql+psycopg")
    msg = f"no support for {backend!r}; {remedy}"
    raise DatabaseUrlError(msg)


def _sqlite(url: URL, *, writes: bool) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        hide_parameters=True,  # an error must not carry rows into a log
        **(
            {"pool_size": 1, "max_overflow": 0} if writes else {"pool_size": 16, "max_overflow": 48}
        ),
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # The driver would open transactions by itself, deferred; we say BEGIN below.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
            # Only a new file can be told that it will give back what retention frees.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA mmap_size = 0")
        if not writes:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
