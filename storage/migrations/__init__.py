"""Making and changing the tables, from the first one on."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from storage.engine import Database

_UPGRADE_LOCK = 0x6B65646765  # "kedge"


class NewerDatabaseError(RuntimeError):
    """The tables were made by a newer Kedge; this one would read them wrongly."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the database is at revision {revision}, which a newer Kedge made; this one knows "
            f"revisions up to {head_revision()}: install the newer Kedge, or restore a backup"
        )


def upgrade(database: Database, revision: str = "head") -> str:
    """Bring the tables to a revision, or to none at all if a step fails; returns the newest.

    Two processes may start at once: one upgrades, the other waits and finds it done.

    Raises:
        NewerDatabaseError: the tables are newer than this code. Nothing was changed.
    """
    with database.writer.begin() as connection:
        if not database.is_sqlite:
            # Held by the transaction, so it cannot outlive it behind a connection pooler.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        _refuse_newer(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return head_revision()


def revisions() -> tuple[str, ...]:
    """Every revision there is, the first one first."""
    found = ScriptDirectory.from_config(_config()).walk_revisions()
    return tuple(reversed([script.revision for script in found]))


def head_revision() -> str:
    """The revision this version of Kedge needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def current_revision(database: Database) -> str | None:
    """The revision the database is at; None when it has no tables."""
    with database.reader.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(connection: Connection) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in revisions():
        raise NewerDatabaseError(current)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    config.set_main_option("path_separator", "os")
    return config
