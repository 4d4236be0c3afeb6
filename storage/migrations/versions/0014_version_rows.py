"""Anchors and the source probe: fixed rows that every version of a model embeds or scores."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.types import Serial, UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "version_rows",
        sa.Column("id", Serial, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_version_rows_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version_rows")),
        sa.UniqueConstraint(
            "model", "kind", "version", name=op.f("uq_version_rows_model_kind_version")
        ),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE version_rows ALTER COLUMN body SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop it."""
    op.drop_table("version_rows")
