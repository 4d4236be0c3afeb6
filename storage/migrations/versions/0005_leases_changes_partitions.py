"""Job leases, change counters, and on PostgreSQL segments in partitions by the week they came."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from alembic import op

from storage.types import UtcDateTime

revision = "0005"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the two tables; turn the segments that are there into the first partition."""
    op.create_table(
        "job_leases",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("held_until", UtcDateTime(), nullable=True),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_leases")),
    )
    op.create_table(
        "changes",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_changes")),
    )
    if op.get_bind().dialect.name == "postgresql":
        _partition()


_PARTITIONED = """
CREATE TABLE segments (
    LIKE segments_before INCLUDING DEFAULTS INCLUDING STORAGE,
    CONSTRAINT pk_segments PRIMARY KEY (seq, received_at),
    CONSTRAINT fk_segments_model FOREIGN KEY (model) REFERENCES models (name)
) PARTITION BY RANGE (received_at)
"""


def _partition() -> None:
    """No row is copied: the table that was there becomes the partition of all weeks so far."""
    old = "ALTER TABLE segments_before"
    for statement in (
        "ALTER TABLE segments RENAME TO segments_before",
        f"{old} DROP CONSTRAINT pk_segments",
        f"{old} RENAME CONSTRAINT fk_segments_model TO fk_segments_before_model",
        "ALTER INDEX ix_segments_interval RENAME TO ix_segments_before_interval",
        _PARTITIONED,
        "CREATE INDEX ix_segments_interval ON segments (model, until_us, since_us)",
        "ALTER SEQUENCE segments_seq_seq OWNED BY segments.seq",
        "CREATE TABLE segments_rest PARTITION OF segments DEFAULT",
    ):
        op.execute(statement)
    newest = op.get_bind().scalar(
        sa.text("SELECT date_trunc('week', max(received_at), 'UTC') FROM segments_before")
    )
    if newest is None:
        op.execute("DROP TABLE segments_before")
        return
    op.execute(
        "ALTER TABLE segments ATTACH PARTITION segments_before "
        f"FOR VALUES FROM (MINVALUE) TO ('{(newest + timedelta(days=7)).isoformat()}')"
    )


def downgrade() -> None:
    """Back to one table of segments, without leases and counters."""
    if op.get_bind().dialect.name == "postgresql":
        for statement in (
            "CREATE TABLE segments_plain (LIKE segments INCLUDING DEFAULTS INCLUDING STORAGE)",
            "INSERT INTO segments_plain SELECT * FROM segments",
            "ALTER SEQUENCE segments_seq_seq OWNED BY segments_plain.seq",
            "DROP TABLE segments",
            "ALTER TABLE segments_plain RENAME TO segments",
            "ALTER TABLE segments ADD CONSTRAINT pk_segments PRIMARY KEY (seq)",
            "CREATE INDEX ix_segments_interval ON segments (model, until_us, since_us)",
        ):
            op.execute(statement)
        op.create_foreign_key("fk_segments_model", "segments", "models", ["model"], ["name"])
    op.drop_table("changes")
    op.drop_table("job_leases")
