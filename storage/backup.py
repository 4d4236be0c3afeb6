"""A copy of a running database, whole at one instant: always a SQLite file, whatever it came from.

One form for both databases: it can be looked into with `sqlite3`, and restored into either.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Table, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from storage.engine import Database, open_database
from storage.migrations import current_revision, head_revision, upgrade
from storage.one_writer import only_writer
from storage.partitions import make_partitions
from storage.tables import Base, SegmentRow

_PAGES_AT_ONCE = 2048
_ROWS_AT_ONCE = 100


class BackupError(RuntimeError):
    """No copy was made, or nothing restored; what was there before is untouched."""


def backup(database: Database, path: Path) -> None:
    """Copy the database to a SQLite file, replacing one that is there. Writers go on meanwhile.

    The copy is made beside `path` and renamed when it is whole and on disk. BackupError where
    it cannot be written, does not pass its integrity check, or PostgreSQL's tables are not at
    this version's revision.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        if database.path is not None:
            _copy_file(database.path, unfinished)
        else:
            _copy_out(database, unfinished)
        with closing(sqlite3.connect(unfinished)) as target:
            verdict = target.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            msg = f"the copy does not pass its integrity check: {verdict}"
            raise BackupError(msg)
        _sync(unfinished)
        unfinished.replace(path)
        _sync(path.parent)
    except (sqlite3.Error, OSError, SQLAlchemyError) as error:
        msg = f"no copy made at {path}: {_first_line(error)}"
        raise BackupError(msg) from error


def restore(path: Path, database: Database) -> None:
    """Fill an empty database from a backup, and bring it to this version's revision.

    Raises:
        BackupError: there is no usable backup at `path`, or the database is not empty.
        SecondWriterError: a daemon runs on the SQLite file.
        NewerDatabaseError: the backup was made by a newer Kedge.
    """
    _refuse_other_files(path)
    with only_writer(database):
        filled = _first_filled(database)
        if filled is not None:
            msg = (
                f"the database is not empty ({filled} has rows); a backup is restored into a new "
                "one: name it in service.database, or move the old one away"
            )
            raise BackupError(msg)
        try:
            if database.path is not None:
                database.close()
                _restore_file(path, database.path)
                upgrade(database)
            else:
                _copy_in(path, database)
        except (sqlite3.Error, OSError, SQLAlchemyError) as error:
            msg = f"{path} was not restored: {_first_line(error)}"
            raise BackupError(msg) from error


def _copy_file(source_path: Path, target_path: Path) -> None:
    with (
        closing(sqlite3.connect(source_path)) as source,
        closing(sqlite3.connect(target_path)) as target,
    ):
        source.backup(target, pages=_PAGES_AT_ONCE)


def _restore_file(path: Path, target: Path) -> None:
    """Put the copy in the place of an empty database, by one rename."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    _copy_file(path, unfinished)
    _sync(unfinished)
    for leftover in (f"{target}-wal", f"{target}-shm"):
        Path(leftover).unlink(missing_ok=True)
    unfinished.replace(target)
    _sync(target.parent)


def _copy_out(database: Database, path: Path) -> None:
    revision = current_revision(database)
    if revision != head_revision():
        msg = f"the database is at {revision}, not {head_revision()}; run `kedge db upgrade` first"
        raise BackupError(msg)
    with _sqlite_at(path) as target:
        upgrade(target)
        with database.read() as reading, target.write() as writing:
            _copy_rows(reading, writing)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, not three


def _copy_in(path: Path, database: Database) -> None:
    """All of it in one transaction; an older backup is brought up to date in a copy first."""
    with TemporaryDirectory(prefix="kedge-restore-") as folder:
        copy = Path(folder) / "backup.db"
        _copy_file(path, copy)
        upgrade(database)
        with _sqlite_at(copy) as source:
            upgrade(source)
            with source.read() as reading:
                weeks = reading.scalars(select(SegmentRow.received_at).distinct()).all()
                for received_at in weeks:
                    make_partitions(database, received_at, ahead=0)
                with database.write() as writing:
                    _copy_rows(reading, writing)
                    _go_on_counting(writing)


@contextmanager
def _sqlite_at(path: Path) -> Iterator[Database]:
    """A SQLite database, closed afterwards."""
    database = open_database(f"sqlite:///{path}")
    try:
        yield database
    finally:
        database.close()


def _copy_rows(reading: Session, writing: Session) -> None:
    """Every row of every table. Both are at the same revision; types speak for both databases."""
    for table in Base.metadata.sorted_tables:
        rows = reading.execute(
            select(*table.columns).order_by(*table.primary_key),
            execution_options={"yield_per": _ROWS_AT_ONCE},
        )
        for part in rows.mappings().partitions():
            writing.execute(table.insert(), [dict(row) for row in part])


def _go_on_counting(session: Session) -> None:
    """PostgreSQL counts keys beside the table: go on behind those that were copied."""
    for table in Base.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is None:
            continue
        sequence = session.scalar(
            text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": table.name, "column": column.name},
        )
        newest = session.scalar(select(func.max(column)))
        if sequence is not None and newest is not None:
            session.execute(
                text("SELECT setval(:sequence, :newest)"), {"sequence": sequence, "newest": newest}
            )


def _refuse_other_files(path: Path) -> None:
    if not path.is_file():
        msg = f"{path}: no such file; give one that `kedge db backup` made"
        raise BackupError(msg)
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source:
            verdict = source.execute("PRAGMA quick_check").fetchone()[0]
            source.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        msg = f"{path} is no backup of Kedge: {error}"
        raise BackupError(msg) from error
    if verdict != "ok":
        msg = f"{path} does not pass its integrity check: {verdict}"
        raise BackupError(msg)


def _first_filled(database: Database) -> str | None:
    """A table that has rows, None where none has."""
    if database.path is not None and not database.path.exists():
        return None
    if current_revision(database) is None:
        return None
    upgrade(database)
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            if _has_rows(session, table):
                return table.name
    return None


def _has_rows(session: Session, table: Table) -> bool:
    return session.execute(select(*table.primary_key).limit(1)).first() is not None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
