"""What the asking routes answer, as OpenAPI describes it. Instants are RFC 3339 with Z."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from alerts.feedback import Verdict
from alerts.records import IncidentKind, IncidentState, MessageType, RequestStatus, Severity
from detectors.records import Maturity, Mode, State, Task, Tier, TransferState
from monitor.api.access import author
from storage.references import ReferenceStatus, Role

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]


def _author(given: str, checked: ValidatorFunctionWrapHandler) -> str:
    return author(checked(given) if given != "" else None)


Author = Annotated[Name, WrapValidator(_author)]
"""Who does something: the name of the token, whatever was given; else it must be given."""
Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1_000)]
Pattern = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class ModelLine(BaseModel):
    """A model, and what has come for it."""

    name: str
    task: Task | None = Field(description="null: in the database, but not configured any more")
    domains: int
    rows: int
    latest_event: datetime | None


class ModelList(BaseModel):
    models: list[ModelLine]


class TransferLine(BaseModel):
    """Does the transferred model beat the from-scratch baseline here?"""

    state: TransferState
    words: str
    difference: float | None = Field(description="Mean loss, transferred less baseline; < 0 helps")
    ci: tuple[float | None, float | None]
    rows: int


class OpenIncidents(BaseModel):
    page: int
    ticket: int


class DomainLine(BaseModel):
    """Where a deployment stands, without opening its report."""

    model: str
    domain: str
    state: State
    words: str
    maturity: Maturity
    guaranteed: bool
    why_not: str | None
    transfer: TransferLine
    verification: Literal["verified", "unverified"] = Field(
        description="unverified: a mapping waits for a person"
    )
    arrivals: list[str] = Field(
        description="What is amiss with its rows and labels, for example source went quiet"
    )
    open_incidents: OpenIncidents
    pages: int = Field(description="Budgeted page alarms so far")
    tickets: int
    rows: int
    late_rows: int
    first_event: datetime | None
    last_event: datetime | None
    evaluated_until: datetime | None
    cohorts_evaluated_until: datetime | None = Field(description="Labels, judged by event cohort")
    tick_hours: float | None


class DomainList(BaseModel):
    model: str
    domains: list[DomainLine]


class Report(BaseModel):
    """A kedge.report/1: one sentence, one state per question, then effects and tests."""

    model_config = ConfigDict(extra="allow")

    schema_: Literal["kedge.report/1"] = Field(alias="schema")
    model: str
    domain: str
    generated_at: datetime
    headline: str
    state: State
    window: dict[str, Any]
    references: list[dict[str, Any]]
    transfer: dict[str, Any]
    calibration: dict[str, Any]
    predictions: dict[str, Any]
    columns: list[dict[str, Any]]
    schema_checks: list[dict[str, Any]]
    performance: dict[str, Any]
    diagnosis: dict[str, Any]
    budget: dict[str, Any]
    incidents: list[dict[str, Any]]


class FindingLine(BaseModel):
    """What a detector saw at one instant of event time."""

    ts: datetime
    onset: datetime
    stream: str
    column: str | None
    slice: str | None
    kind: str
    tier: Tier
    evidence: float | None = Field(description="Alarm at 1; null where infinite")
    effect: float | None
    detail: str


class FindingList(BaseModel):
    findings: list[FindingLine]


class StreamLine(BaseModel):
    """One followed stream, as it stands."""

    stream: str
    tier: Tier
    clock: Literal["feature", "label"]
    tick: str = Field(description="Event time between two looks, as in 6 h")
    followed: Literal["tick", "sparse", "row", "cluster", "named"]
    why: str = Field(description="Why it is followed so; a named detector's run length in words")
    promise: str = Field(description="warming, provisional, guaranteed, or not promised")
    since: datetime | None = Field(description="When it joined, if it is not in the reference")
    weight: float | None = Field(description="What of the tier's budget it may bet now")
    smallest_effect: float | None
    evidence: float | None = Field(description="Alarm at 1")
    run_length: dict[str, Any] | None = Field(description="Of a named detector, with its interval")
    stands_out: bool = Field(description="By e-BH at 5 % over all streams, whenever looked at")


class StreamList(BaseModel):
    """All streams of a deployment; none before its first check."""

    model: str
    domain: str
    followed: dict[str, int]
    stand_out: list[str]
    stand_out_count: int
    words: str
    streams: list[StreamLine]


class StreamPoint(BaseModel):
    """A stream in one tick. `v` null: nothing came in this tick."""

    ts: datetime
    y: float | None
    v: float | None = Field(description="Sampling variance of y")


class StreamHistory(BaseModel):
    """One followed number over time."""

    stream: str
    signal: str
    statistic: str
    column: str | None
    slice: str | None
    tier: Tier
    clock: Literal["feature", "label"]
    tick_seconds: int
    smallest_effect: float = Field(description="A shift of y below this never alarms")
    detectors: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Named detectors on it, with the run length their calibration reached",
    )
    points: list[StreamPoint]


class ActionShape(BaseModel):
    kind: str
    scope: str
    cadence: str
    falsified_by: str


class ChangeShape(BaseModel):
    at: datetime = Field(description="Event time; the words end in the wall clock of a person")
    what: str
    by: str = Field(description='"" is Kedge itself')
    words: str


class IncidentShape(BaseModel):
    """A problem of one deployment, from its opening to its resolution."""

    id: str
    model: str
    domain: str
    mode: Mode
    state: IncidentState
    severity: Severity
    tier: Tier
    headline: str
    opened_at: datetime
    onset: datetime
    updated_at: datetime
    closed_at: datetime | None
    alarms: int
    confidence: float | None
    runner_up: Mode | None
    evidence: list[str]
    columns: list[str]
    streams: list[str]
    action: ActionShape
    acknowledged_by: str | None
    snoozed_until: datetime | None = Field(description="When the acknowledgement runs out")
    kind: IncidentKind
    what: str = Field(description="The mode, or for alerts about what arrives their kind")
    domains: list[str] = Field(description="Of a group; its domain is empty")
    verdict: str | None = Field(description="What people last called it")
    verdict_by: str | None
    history: list[ChangeShape]


class IncidentList(BaseModel):
    incidents: list[IncidentShape]


class IncidentDone(IncidentShape):
    """An incident after somebody's work on it."""

    outcome: str = Field(description="acknowledged, already acknowledged, resolved, noted")


class Deed(BaseModel):
    """Who does something, and what they have to say about it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"by": "ann"}})

    by: Author = Field("", validate_default=True, description="Needed only without a token")
    note: Note = ""


class Acknowledge(Deed):
    """Taking an incident, for good or for a while."""

    until: AwareDatetime | None = Field(None, description="When to be told again; null: never")


class Feedback(Deed):
    """What a person found out about an incident."""

    verdict: Verdict | None = None


class SilenceDeed(BaseModel):
    """What not to be told of, until when and why. At least one field of what to match."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"by": "ann", "reason": "migration", "for": "2h", "models": ["loans"]}
        },
    )

    by: Author = Field("", validate_default=True)
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)]
    until: AwareDatetime | None = None
    for_: str | None = Field(None, alias="for", max_length=40, description="Instead of until: 2h")
    starts_at: AwareDatetime | None = None
    models: list[Pattern] = Field(default=[], max_length=50)
    domains: list[Pattern] = Field(default=[], max_length=50)
    columns: list[Pattern] = Field(default=[], max_length=50)
    modes: list[Mode] = Field(default=[], max_length=50)
    severities: list[Severity] = Field(default=[], max_length=10)
    tiers: list[Tier] = Field(default=[], max_length=10)
    incidents: list[Pattern] = Field(default=[], max_length=50)


class SilenceFor(BaseModel):
    """Not to be told of one incident for a while."""

    model_config = ConfigDict(extra="forbid")

    by: Author = Field("", validate_default=True)
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)]
    until: AwareDatetime | None = None
    for_: str | None = Field(None, alias="for", max_length=40, description="Instead of until: 2h")


class SilenceShape(BaseModel):
    """A silence: who asked for it, until when, why, and what it hides. Wall clock."""

    id: str
    active: bool
    starts_at: datetime
    until: datetime
    ends_at: datetime = Field(description="`until`, or when somebody ended it before")
    reason: str
    author: str
    created_at: datetime
    expired_at: datetime | None
    expired_by: str | None
    matches: dict[str, list[str]] = Field(description="Fields left out match everything")
    words: str


class SilenceList(BaseModel):
    silences: list[SilenceShape]


class SilenceMade(SilenceShape):
    """A silence, and how many waiting messages it has taken back."""

    hushed: int


class RecoveryTest(BaseModel):
    """The stream that has to be back inside its margin, and how long it has."""

    stream: str
    within_days: int


class RequestShape(BaseModel):
    """A retraining request."""

    id: str
    model: str
    domain: str
    incident_id: str
    mode: Mode
    action: ActionShape
    reason: str
    status: RequestStatus
    requested_at: datetime
    since: datetime
    until: datetime
    rows: int | None
    decided_at: datetime | None
    decided_by: str | None
    layer: str | None = Field(description="What of the model is trained")
    confidence: float
    runner_up: Mode | None
    evidence: list[str]
    test: RecoveryTest | None = Field(description="null: a person has to say whether it worked")
    version: str | None
    served_since: datetime | None = Field(description="Event time")
    outcome: str | None
    judged_at: datetime | None
    rebased_at: datetime | None = Field(description="When a reference of rows since was made")


class RequestStep(BaseModel):
    at: datetime
    status: RequestStatus
    by: str
    words: str


class RequestDetail(RequestShape):
    history: list[RequestStep]


class RequestList(BaseModel):
    requests: list[RequestShape]


class ReferenceShape(BaseModel):
    """A reference window without its rows."""

    id: int
    model: str
    domain: str | None = Field(description="null: for every domain of the model")
    role: Role
    version: int
    status: ReferenceStatus
    rows: int
    since: datetime | None
    until: datetime | None
    columns: dict[str, str] = Field(description="Feature to kind")
    note: str
    created_at: datetime
    approved_by: str | None
    activated_at: datetime | None
    retired_at: datetime | None


class ReferenceList(BaseModel):
    references: list[ReferenceShape]


class FlushBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: Name


class Flushed(BaseModel):
    model: str
    counts: dict[str, int]


class DeliveryLine(BaseModel):
    """A message that has not reached a channel."""

    id: str
    type: MessageType
    model: str
    domain: str
    incident_id: str | None
    channel: str
    attempts: int
    due_at: datetime | None = Field(description="null: given up")
    dead_at: datetime | None
    last_error: str


class Outbox(BaseModel):
    """What has not been delivered; at most 100 lines of each kind, counts of all."""

    waiting: int
    dead: int
    oldest_seconds: float | None
    deliveries: list[DeliveryLine]
    dead_letters: list[DeliveryLine]


class Replayed(BaseModel):
    id: str
    replayed: int = Field(description="Deliveries put back on their way")


class Health(BaseModel):
    ready: bool
    checks: dict[str, str]


class WholeHealth(BaseModel):
    healthy: bool
    checks: dict[str, str]
