"""How long deployments let us wait."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.types import Json, UtcDateTime

revision = "0013"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "arrivals",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("days", Json(), nullable=False),
        sa.PrimaryKeyConstraint("model", "domain", name=op.f("pk_arrivals")),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("arrivals")
