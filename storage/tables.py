"""Every table, in one place. Nothing but `storage` sees these rows; functions return records.

Times that people read are `UtcDateTime`; event times are int64 microseconds since 1970 UTC
(`_us`); a day is a whole number of days since 1970 UTC. Blobs are described where they are
encoded: rows in `segments`, id and label runs in `runs`. An empty `domain` means every domain
of the model.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from storage.types import Json, Serial, UtcDateTime


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can find it again on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        int: BigInteger(),
        float: Double(),
        bool: Boolean(),
        bytes: LargeBinary(),
        datetime: UtcDateTime(),
    }


class ModelRow(Base):
    """A served model. Its row is the lock that puts writers of one model in a line.

    `closed_until_us` is where a flush closed every tick; `learnt_schema` what the first events
    of a model without a reference looked like.
    """

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    latest_event_us: Mapped[int | None]
    closed_until_us: Mapped[int | None]
    learnt_schema: Mapped[Any | None] = mapped_column(Json)


class DeploymentRow(Base):
    """A (model, domain) pair, what has come for it, and how far it has been evaluated."""

    __tablename__ = "deployments"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    domain: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    first_event_us: Mapped[int | None]
    last_event_us: Mapped[int | None]
    last_received_at: Mapped[datetime | None]
    rows: Mapped[int] = mapped_column(default=0)
    late_rows: Mapped[int] = mapped_column(default=0)
    evaluated_until_us: Mapped[int | None]
    cohort_evaluated_until_us: Mapped[int | None]
    status: Mapped[Any] = mapped_column(Json, default=dict)


class ArrivalRow(Base):
    """How long a deployment has let us wait: the longest pause of each of the last days."""

    __tablename__ = "arrivals"

    model: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(primary_key=True)
    last_at: Mapped[datetime]
    days: Mapped[Any] = mapped_column(Json)


class SegmentRow(Base):
    """One accepted batch of events. `on_time_since_us` leaves late rows out; None: all late.

    On PostgreSQL a table partitioned by the week of `received_at`; see `partitions`.
    """

    __tablename__ = "segments"
    __table_args__ = (
        Index("ix_segments_interval", "model", "until_us", "since_us"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(Serial, primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    received_at: Mapped[datetime]
    since_us: Mapped[int]
    until_us: Mapped[int]
    on_time_since_us: Mapped[int | None]
    rows: Mapped[int]
    late_rows: Mapped[int]
    domains: Mapped[Any] = mapped_column(Json)
    body: Mapped[bytes]


class IdRunRow(Base):
    """Sorted event ids of one event day, from one batch or, once compacted, from many."""

    __tablename__ = "id_runs"
    __table_args__ = (Index("ix_id_runs_day", "model", "day"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = mapped_column(Serial, primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    day: Mapped[int]
    rows: Mapped[int]
    body: Mapped[bytes]


class LabelRunRow(Base):
    """Labels of one event day sorted by id.

    `day` None: their events have not come yet, and `received_at` says how long they have waited.
    """

    __tablename__ = "label_runs"
    __table_args__ = (Index("ix_label_runs_day", "model", "day"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = mapped_column(Serial, primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    day: Mapped[int | None]
    received_at: Mapped[datetime | None]
    rows: Mapped[int]
    body: Mapped[bytes]


class ReferenceRow(Base):
    """A frozen window with a role and a version. Rows of it are never changed."""

    __tablename__ = "reference_windows"
    __table_args__ = (
        UniqueConstraint("model", "domain", "role", "version"),
        Index(
            "ix_reference_windows_active",
            "model",
            "domain",
            "role",
            unique=True,
            sqlite_where=text("status = 'active'"),
            postgresql_where=text("status = 'active'"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    domain: Mapped[str]
    role: Mapped[str]
    version: Mapped[int]
    status: Mapped[str]
    rows: Mapped[int]
    since_us: Mapped[int | None]
    until_us: Mapped[int | None]
    schema: Mapped[Any] = mapped_column(Json)
    note: Mapped[str]
    created_at: Mapped[datetime]
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[str]
    activated_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]


class ReferenceChunkRow(Base):
    """Some rows of a reference, in order."""

    __tablename__ = "reference_chunks"

    reference_id: Mapped[int] = mapped_column(
        ForeignKey("reference_windows.id"), primary_key=True, autoincrement=False
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    rows: Mapped[int]
    body: Mapped[bytes]


class ReferenceProfileRow(Base):
    """A profile fitted on a reference. Fitting again makes a new fingerprint and a new row."""

    __tablename__ = "reference_profiles"

    reference_id: Mapped[int] = mapped_column(
        ForeignKey("reference_windows.id"), primary_key=True, autoincrement=False
    )
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    body: Mapped[bytes]


class SummaryRow(Base):
    """What one tick says, by the profile that cut its cells. `clock`: "feature" or "label"."""

    __tablename__ = "tick_summaries"

    model: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(primary_key=True)
    clock: Mapped[str] = mapped_column(primary_key=True)
    profile: Mapped[str] = mapped_column(primary_key=True)
    tick_us: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    start_us: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rows: Mapped[int]
    body: Mapped[bytes]


class CheckpointRow(Base):
    """Detector state of a deployment: a cache of replaying its summaries."""

    __tablename__ = "checkpoints"

    model: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    fingerprint: Mapped[str]
    evaluated_until_us: Mapped[int]
    saved_at: Mapped[datetime]
    body: Mapped[bytes]


class FindingRow(Base):
    """What a detector saw. The unique key makes saving a replay again change nothing."""

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("model", "domain", "ts", "kind", "stream"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    model: Mapped[str]
    domain: Mapped[str]
    ts: Mapped[datetime]
    onset: Mapped[datetime]
    kind: Mapped[str]
    stream: Mapped[str]
    tier: Mapped[str]
    column: Mapped[str]
    slice: Mapped[str]
    evidence: Mapped[float]
    effect: Mapped[float | None]
    detail: Mapped[str]


class IncidentRow(Base):
    """A problem people track: the record as JSON, and the fields it is looked up by."""

    __tablename__ = "incidents"
    __table_args__ = (
        Index("ix_incidents_deployment", "model", "domain", "state"),
        Index("ix_incidents_opened", "opened_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    domain: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default="drift")
    mode: Mapped[str]
    state: Mapped[str]
    severity: Mapped[str]
    tier: Mapped[str]
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    record: Mapped[str]


class IncidentChangeRow(Base):
    """One line of the audit trail of an incident. Only ever added to."""

    __tablename__ = "incident_changes"
    __table_args__ = (
        UniqueConstraint("incident_id", "at", "what", "author"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    incident_id: Mapped[str] = mapped_column(ForeignKey("incidents.id"))
    at: Mapped[datetime]
    what: Mapped[str]
    author: Mapped[str]
    words: Mapped[str]


class GroupMemberRow(Base):
    """Which group tells of an incident. An incident is a member of one group at most."""

    __tablename__ = "group_members"

    incident_id: Mapped[str] = mapped_column(ForeignKey("incidents.id"), primary_key=True)
    group_id: Mapped[str] = mapped_column(ForeignKey("incidents.id"), index=True)
    joined_at: Mapped[datetime]


class SilenceRow(Base):
    """What people asked not to be told: the record as JSON, and when it ends. Never deleted."""

    __tablename__ = "silences"
    __table_args__ = (Index("ix_silences_ends", "ends_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    record: Mapped[str]


class HeldRow(Base):
    """A message that was not sent, and why. `settled_at` None: what held it may still end.

    It outlives its message, as the history of an incident does.
    """

    __tablename__ = "held_messages"
    __table_args__ = (
        Index("ix_held_messages_incident", "incident_id"),
        Index("ix_held_messages_open", "settled_at"),
    )

    message_id: Mapped[str] = mapped_column(primary_key=True)
    incident_id: Mapped[str]
    type: Mapped[str]
    kind: Mapped[str]
    by: Mapped[str]
    words: Mapped[str]
    held_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class MessageRow(Base):
    """What is sent. The key is the webhook-id, so the same cause never makes two."""

    __tablename__ = "messages"
    __table_args__ = (Index("ix_messages_incident", "incident_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    model: Mapped[str]
    domain: Mapped[str]
    incident_id: Mapped[str]
    tier: Mapped[str]
    severity: Mapped[str]
    created_at: Mapped[datetime]
    enqueued_at: Mapped[datetime]
    body: Mapped[str]


class DeliveryRow(Base):
    """A message on its way to one channel. `due_at` None: delivered or dead."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_due", "due_at"),
        Index("ix_deliveries_channel", "channel", "due_at"),
    )

    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id"), primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    attempts: Mapped[int] = mapped_column(Integer)
    due_at: Mapped[datetime | None]
    claimed_until: Mapped[datetime | None]
    epoch: Mapped[int]
    delivered_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]
    last_error: Mapped[str]


class ChannelStateRow(Base):
    """How a channel fares: failures in a row, until when it is held, and whether it is disabled."""

    __tablename__ = "channel_states"

    channel: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    held_until: Mapped[datetime | None]
    free_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_words: Mapped[str]


class AttemptRow(Base):
    """The delivery log: one line an attempt."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (
        Index("ix_delivery_attempts_message", "message_id"),
        Index("ix_delivery_attempts_at", "at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id"))
    channel: Mapped[str]
    attempt: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime]
    outcome: Mapped[str]
    status: Mapped[int | None]
    duration_ms: Mapped[int]
    words: Mapped[str]
    next_at: Mapped[datetime | None]
    detail: Mapped[Any] = mapped_column(Json)


class RetrainingRow(Base):
    """A retraining request: the record as JSON, and the fields it is looked up by."""

    __tablename__ = "retraining_requests"
    __table_args__ = (Index("ix_retraining_requests_deployment", "model", "domain"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    domain: Mapped[str]
    incident_id: Mapped[str]
    action: Mapped[str]
    status: Mapped[str]
    requested_at: Mapped[datetime]
    record: Mapped[str]


class RetrainingChangeRow(Base):
    """One step of a retraining request. Only ever added to."""

    __tablename__ = "retraining_changes"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("retraining_requests.id"), index=True)
    at: Mapped[datetime]
    status: Mapped[str]
    author: Mapped[str]
    words: Mapped[str]


class RejectionRow(Base):
    """How many values were refused on a day, why, and one of them to look at."""

    __tablename__ = "rejections"

    model: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    column: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    example: Mapped[str]


class SourceRow(Base):
    """Where reading a pull source goes on: exactly behind the rows already stored."""

    __tablename__ = "sources"

    name: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    position: Mapped[Any] = mapped_column(Json)
    updated_at: Mapped[datetime]


class LeaseRow(Base):
    """Who does a job now. `epoch` counts who took it; `done` is a change number it has seen."""

    __tablename__ = "job_leases"

    job: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    epoch: Mapped[int]
    held_until: Mapped[datetime | None]
    done: Mapped[int]


class ChangeRow(Base):
    """How often something changed that other processes want to hear of."""

    __tablename__ = "changes"

    topic: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]


class TokenRow(Base):
    """A token that lets somebody in: what it may do, for whom, and the hash of its secret."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    secret_hash: Mapped[str]
    scopes: Mapped[Any] = mapped_column(Json)
    models: Mapped[Any] = mapped_column(Json)
    domains: Mapped[Any] = mapped_column(Json)
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str]
    last_used_at: Mapped[datetime | None]


class BrowserSessionRow(Base):
    """Somebody who logged in with a token; `token_id` "" is the shared one, `proof` its hash."""

    __tablename__ = "browser_sessions"

    secret_hash: Mapped[str] = mapped_column(primary_key=True)
    token_id: Mapped[str]
    proof: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class BaselineRow(Base):
    """A version of a from-scratch baseline and what it was trained on. Never changed."""

    __tablename__ = "baselines"
    __table_args__ = (
        UniqueConstraint("model", "domain", "version"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    domain: Mapped[str]
    version: Mapped[int]
    source: Mapped[str]
    rows: Mapped[int]
    since_us: Mapped[int | None]
    until_us: Mapped[int | None]
    scores_from_us: Mapped[int | None]
    curve: Mapped[Any] = mapped_column(Json)
    fine_tuning: Mapped[Any] = mapped_column(Json)
    note: Mapped[str]
    created_at: Mapped[datetime]


class BaselineStateRow(Base):
    """The baseline Kedge trains for a deployment: rows it learns from and weights, as safetensors.

    A cache like a checkpoint: training on the stored rows again gives the same.
    """

    __tablename__ = "baseline_states"

    model: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    saved_at: Mapped[datetime]
    body: Mapped[bytes]


class MappingRow(Base):
    """One version of what a feature or category of the source is in a domain.

    Nothing but `status` and who decided ever changes, and only while it is proposed or approved.
    """

    __tablename__ = "mappings"
    __table_args__ = (
        UniqueConstraint("model", "domain", "column", "category", "version"),
        Index("ix_mappings_status", "model", "domain", "status"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    domain: Mapped[str]
    column: Mapped[str]
    category: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    status: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str]
    reason: Mapped[str]
    record: Mapped[str]


class VersionRowsRow(Base):
    """Rows of one version of a model: anchors embedded, a probe's labels, or the probe scored."""

    __tablename__ = "version_rows"
    __table_args__ = (
        UniqueConstraint("model", "kind", "version"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    kind: Mapped[str]
    version: Mapped[str]
    rows: Mapped[int]
    created_at: Mapped[datetime]
    body: Mapped[bytes]
