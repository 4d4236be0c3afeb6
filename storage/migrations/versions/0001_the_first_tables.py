"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.types import Json, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BLOBS = (
    "segments",
    "id_runs",
    "label_runs",
    "reference_chunks",
    "reference_profiles",
    "tick_summaries",
    "checkpoints",
)
"""Their bodies are compressed or random already: PostgreSQL must not try again."""


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "checkpoints",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("evaluated_until_us", sa.BigInteger(), nullable=False),
        sa.Column("saved_at", UtcDateTime(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model", "domain", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "findings",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("ts", UtcDateTime(), nullable=False),
        sa.Column("onset", UtcDateTime(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("column", sa.Text(), nullable=False),
        sa.Column("slice", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
        sa.UniqueConstraint(
            "model",
            "domain",
            "ts",
            "kind",
            "stream",
            name=op.f("uq_findings_model_domain_ts_kind_stream"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    op.create_index(
        "ix_incidents_deployment", "incidents", ["model", "domain", "state"], unique=False
    )
    op.create_index("ix_incidents_opened", "incidents", ["opened_at"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("enqueued_at", UtcDateTime(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index("ix_messages_incident", "messages", ["incident_id"], unique=False)
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("latest_event_us", sa.BigInteger(), nullable=True),
        sa.Column("closed_until_us", sa.BigInteger(), nullable=True),
        sa.Column("learnt_schema", Json(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_table(
        "rejections",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("column", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "domain", "day", "column", "reason", name=op.f("pk_rejections")
        ),
    )
    op.create_table(
        "retraining_requests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraining_requests")),
    )
    op.create_index(
        "ix_retraining_requests_deployment",
        "retraining_requests",
        ["model", "domain"],
        unique=False,
    )
    op.create_table(
        "sources",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("position", Json(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sources")),
    )
    op.create_table(
        "tick_summaries",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("clock", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("tick_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model",
            "domain",
            "clock",
            "profile",
            "tick_us",
            "start_us",
            name=op.f("pk_tick_summaries"),
        ),
    )
    op.create_table(
        "deliveries",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("claimed_until", UtcDateTime(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.Column("dead_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_deliveries_message_id")
        ),
        sa.PrimaryKeyConstraint("message_id", "channel", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["due_at"], unique=False)
    op.create_table(
        "delivery_attempts",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=True),
        sa.Column("detail", Json(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_delivery_attempts_message_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_attempts")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_delivery_attempts_at", "delivery_attempts", ["at"], unique=False)
    op.create_index(
        "ix_delivery_attempts_message", "delivery_attempts", ["message_id"], unique=False
    )
    op.create_table(
        "deployments",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("first_event_us", sa.BigInteger(), nullable=True),
        sa.Column("last_event_us", sa.BigInteger(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("late_rows", sa.BigInteger(), nullable=False),
        sa.Column("evaluated_until_us", sa.BigInteger(), nullable=True),
        sa.Column("cohort_evaluated_until_us", sa.BigInteger(), nullable=True),
        sa.Column("status", Json(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_deployments_model")),
        sa.PrimaryKeyConstraint("model", "domain", name=op.f("pk_deployments")),
    )
    op.create_table(
        "id_runs",
        sa.Column("seq", SERIAL, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_id_runs_model")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_id_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_id_runs_day", "id_runs", ["model", "day"], unique=False)
    op.create_table(
        "incident_changes",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_incident_changes_incident_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_changes")),
        sa.UniqueConstraint(
            "incident_id",
            "at",
            "what",
            "author",
            name=op.f("uq_incident_changes_incident_id_at_what_author"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "label_runs",
        sa.Column("seq", SERIAL, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_label_runs_model")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_label_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_label_runs_day", "label_runs", ["model", "day"], unique=False)
    op.create_table(
        "reference_windows",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=True),
        sa.Column("until_us", sa.BigInteger(), nullable=True),
        sa.Column("schema", Json(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("approved_at", UtcDateTime(), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("activated_at", UtcDateTime(), nullable=True),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["model"], ["models.name"], name=op.f("fk_reference_windows_model")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_windows")),
        sa.UniqueConstraint(
            "model",
            "domain",
            "role",
            "version",
            name=op.f("uq_reference_windows_model_domain_role_version"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_reference_windows_active",
        "reference_windows",
        ["model", "domain", "role"],
        unique=True,
        sqlite_where=sa.text("status = 'active'"),
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "retraining_changes",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["retraining_requests.id"],
            name=op.f("fk_retraining_changes_request_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraining_changes")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_retraining_changes_request_id"), "retraining_changes", ["request_id"], unique=False
    )
    op.create_table(
        "segments",
        sa.Column("seq", SERIAL, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("on_time_since_us", sa.BigInteger(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("late_rows", sa.BigInteger(), nullable=False),
        sa.Column("domains", Json(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_segments_model")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_segments")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_segments_interval", "segments", ["model", "until_us", "since_us"], unique=False
    )
    op.create_table(
        "reference_chunks",
        sa.Column("reference_id", SERIAL, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"],
            ["reference_windows.id"],
            name=op.f("fk_reference_chunks_reference_id"),
        ),
        sa.PrimaryKeyConstraint("reference_id", "number", name=op.f("pk_reference_chunks")),
    )
    op.create_table(
        "reference_profiles",
        sa.Column("reference_id", SERIAL, autoincrement=False, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"],
            ["reference_windows.id"],
            name=op.f("fk_reference_profiles_reference_id"),
        ),
        sa.PrimaryKeyConstraint("reference_id", "fingerprint", name=op.f("pk_reference_profiles")),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in BLOBS:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN body SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop every table."""
    op.drop_table("reference_profiles")
    op.drop_table("reference_chunks")
    op.drop_index("ix_segments_interval", table_name="segments")
    op.drop_table("segments")
    op.drop_index(op.f("ix_retraining_changes_request_id"), table_name="retraining_changes")
    op.drop_table("retraining_changes")
    op.drop_index(
        "ix_reference_windows_active",
        table_name="reference_windows",
        sqlite_where=sa.text("status = 'active'"),
        postgresql_where=sa.text("status = 'active'"),
    )
    op.drop_table("reference_windows")
    op.drop_index("ix_label_runs_day", table_name="label_runs")
    op.drop_table("label_runs")
    op.drop_table("incident_changes")
    op.drop_index("ix_id_runs_day", table_name="id_runs")
    op.drop_table("id_runs")
    op.drop_table("deployments")
    op.drop_index("ix_delivery_attempts_message", table_name="delivery_attempts")
    op.drop_index("ix_delivery_attempts_at", table_name="delivery_attempts")
    op.drop_table("delivery_attempts")
    op.drop_index("ix_deliveries_due", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_table("tick_summaries")
    op.drop_table("sources")
    op.drop_index("ix_retraining_requests_deployment", table_name="retraining_requests")
    op.drop_table("retraining_requests")
    op.drop_table("rejections")
    op.drop_table("models")
    op.drop_index("ix_messages_incident", table_name="messages")
    op.drop_table("messages")
    op.drop_index("ix_incidents_opened", table_name="incidents")
    op.drop_index("ix_incidents_deployment", table_name="incidents")
    op.drop_table("incidents")
    op.drop_table("findings")
    op.drop_table("checkpoints")
