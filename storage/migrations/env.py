"""Run by Alembic, on the connection `upgrade` hands over."""

from __future__ import annotations

from alembic import context

from storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    transactional_ddl=True,  # SQLite can roll back CREATE TABLE too, once we say BEGIN ourselves
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
