"""Incident work: silences, held messages, groups, and kinds of incident."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.types import UtcDateTime

revision = "0003"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what the service itself knows of incidents."""
    op.add_column("incidents", sa.Column("kind", sa.Text(), nullable=False, server_default="drift"))
    op.add_column("deployments", sa.Column("last_received_at", UtcDateTime(), nullable=True))
    op.create_table(
        "silences",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    op.create_index("ix_silences_ends", "silences", ["ends_at"], unique=False)
    op.create_table(
        "held_messages",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("held_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_held_messages")),
    )
    op.create_index("ix_held_messages_incident", "held_messages", ["incident_id"], unique=False)
    op.create_index("ix_held_messages_open", "held_messages", ["settled_at"], unique=False)
    op.create_table(
        "group_members",
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("joined_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_group_members_incident_id")
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["incidents.id"], name=op.f("fk_group_members_group_id")
        ),
        sa.PrimaryKeyConstraint("incident_id", name=op.f("pk_group_members")),
    )
    op.create_index(op.f("ix_group_members_group_id"), "group_members", ["group_id"], unique=False)


def downgrade() -> None:
    """Take it away again."""
    op.drop_index(op.f("ix_group_members_group_id"), table_name="group_members")
    op.drop_table("group_members")
    op.drop_index("ix_held_messages_open", table_name="held_messages")
    op.drop_index("ix_held_messages_incident", table_name="held_messages")
    op.drop_table("held_messages")
    op.drop_index("ix_silences_ends", table_name="silences")
    op.drop_table("silences")
    op.drop_column("deployments", "last_received_at")
    op.drop_column("incidents", "kind")
