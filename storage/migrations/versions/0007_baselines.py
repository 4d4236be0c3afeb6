"""The registry of baselines, and the state of those Kedge trains itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.types import Json, Serial, UtcDateTime

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "baselines",
        sa.Column("id", Serial, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=True),
        sa.Column("until_us", sa.BigInteger(), nullable=True),
        sa.Column("scores_from_us", sa.BigInteger(), nullable=True),
        sa.Column("curve", Json(), nullable=False),
        sa.Column("fine_tuning", Json(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_baselines_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_baselines")),
        sa.UniqueConstraint(
            "model", "domain", "version", name=op.f("uq_baselines_model_domain_version")
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "baseline_states",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("saved_at", UtcDateTime(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model", "domain", name=op.f("pk_baseline_states")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE baseline_states ALTER COLUMN body SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop them."""
    op.drop_table("baseline_states")
    op.drop_table("baselines")
