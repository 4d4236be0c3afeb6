"""What `kedge db status` says: revision, size, what is stored, who does which job."""

from __future__ import annotations

from collections.abc import Iterator

from storage.deployments import list_deployments
from storage.engine import Database
from storage.leases import list_leases
from storage.migrations import current_revision, head_revision
from storage.outbox import dead_count, waiting_count
from storage.partitions import partition_names
from storage.size import database_bytes


def status_lines(database: Database) -> Iterator[str]:
    """Lines for people. An empty database, or one of another revision, gets few."""
    kind = "SQLite" if database.is_sqlite else "PostgreSQL"
    current, head = current_revision(database), head_revision()
    if current is None:
        yield f"{kind}, empty; `kedge run` or `kedge db upgrade` makes the tables"
        return
    yield f"{kind}, {database_bytes(database) / 1e6:,.1f} MB, at revision {current}"
    if current != head:
        yield f"this Kedge needs revision {head}: `kedge db upgrade`"
        return
    with database.read() as session:
        states = list_deployments(session)
        models = {state.deployment.model for state in states}
        rows = sum(state.rows for state in states)
        yield f"{len(models)} models, {len(states)} deployments, {rows:,} rows taken so far"
        yield f"outbox: {waiting_count(session)} waiting, {dead_count(session)} dead letters"
        names = partition_names(session)
        if names:
            yield f"partitions of rows: {', '.join(names)}"
        for lease in list_leases(session):
            if lease.held_until is not None:
                until = f"{lease.held_until:%Y-%m-%d %H:%M:%S}"
                yield f"job {lease.job!r}: {lease.holder} until {until} UTC"
