"""Making and changing the tables, from the first one on."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from storage.engine import Database

_UPGRADE_LOCK = 0x6B65646765  # "kedge"


def upgrade(database: Database) -> str:
    """Bring the tables to the newest revision, or to none at all if a step fails; returns it.

    Two processes may start at once: one upgrades, the other waits and finds it done.
    """
    with database.writer.begin() as connection:
        if not database.is_sqlite:
            # Held by the transaction, so it cannot outlive it behind a connection pooler.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return head_revision()


def head_revision() -> str:
    """The revision this version of Kedge needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def current_revision(database: Database) -> str | None:
    """The revision the database is at; None when it has no tables."""
    with database.reader.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    config.set_main_option("path_separator", "os")
    return config
