"""Commands that work on the configured database directly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from monitor.config import load_config
from storage.engine import Database, open_database
from storage.migrations import upgrade


@contextmanager
def opened_database(config_path: str | None) -> Iterator[Database]:
    """The configured database, closed afterwards."""
    database = open_database(load_config(config_path).service.database)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def opened_session(config_path: str | None, *, write: bool = False) -> Iterator[Session]:
    """A session on the configured database, its tables made or upgraded first."""
    with opened_database(config_path) as database:
        upgrade(database)
        with database.write() if write else database.read() as session:
            yield session
