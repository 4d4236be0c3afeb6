"""A copy of a running SQLite database, whole at one instant."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from storage.engine import Database

_PAGES_AT_ONCE = 2048


class BackupError(RuntimeError):
    """The copy could not be made; a copy that was there before is untouched."""


def backup(database: Database, path: Path) -> None:
    """Copy the database to `path`, replacing a copy that is there. Writers go on meanwhile.

    The copy is made beside `path` and renamed when it is whole and on disk. BackupError on
    PostgreSQL, which has pg_dump, and where the copy does not pass its integrity check.
    """
    if database.path is None:
        msg = "only SQLite is copied this way; for PostgreSQL use pg_dump"
        raise BackupError(msg)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(database.path)) as source,
            closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target, pages=_PAGES_AT_ONCE)
            verdict = target.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            msg = f"the copy does not pass its integrity check: {verdict}"
            raise BackupError(msg)
        _sync(unfinished)
        unfinished.replace(path)
        _sync(path.parent)
    except (sqlite3.Error, OSError) as error:
        msg = f"no copy made at {path}: {error}"
        raise BackupError(msg) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
