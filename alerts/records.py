"""The nouns of alerting, frozen: what people track, what is sent, and how sending went.

Identifiers are digests of what they identify, so replaying a history makes the same ones and a
receiver recognises a repeat. Times of incidents, messages and requests are event time; only a
`Delivery` and an `Attempt` carry the wall clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from detectors.records import Action, Deployment, Mode, Tier, to_us


class IncidentState(StrEnum):
    """Where the work on an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class IncidentKind(StrEnum):
    """What sort of problem: of a model, of several domains at once, or of what arrives.

    Only `drift` is made by evidence, and so by a replay; the others are made by the service.
    """

    DRIFT = "drift"
    GROUP = "group"
    SOURCE_QUIET = "source went quiet"
    NO_LABELS = "no labels arriving"
    TOO_LITTLE_DATA = "too little data"


SERVICE_KINDS = (
    IncidentKind.SOURCE_QUIET,
    IncidentKind.NO_LABELS,
    IncidentKind.TOO_LITTLE_DATA,
)
"""About what arrives, the most pressing first."""


class Severity(StrEnum):
    """How bad it is, in the words channels and routes use; `rank` orders them."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class MessageType(StrEnum):
    """The `type` of a webhook body."""

    OPENED = "incident.opened"
    UPDATED = "incident.updated"
    ACKNOWLEDGED = "incident.acknowledged"
    RESOLVED = "incident.resolved"
    RETRAINING_REQUESTED = "retraining.requested"
    RETRAINING_APPROVED = "retraining.approved"
    RETRAINING_VERIFIED = "retraining.verified"
    RETRAINING_REFUTED = "retraining.refuted"
    RETRAINING_UNDECIDED = "retraining.undecided"
    MAPPING_REVIEW_REQUESTED = "mapping.review_requested"
    SOURCE_QUIET = "source.quiet"
    LABELS_MISSING = "labels.missing"
    TOO_LITTLE_DATA = "rows.too_few"
    TEST = "channel.test"

    @property
    def closes(self) -> bool:
        """Whether it says that a problem is over."""
        return self is MessageType.RESOLVED

    @property
    def follows(self) -> bool:
        """Whether it only means something to those who were told of the problem before."""
        return self.closes or self is MessageType.ACKNOWLEDGED

    @property
    def about_training(self) -> bool:
        """Whether it is about a retraining request rather than an incident."""
        return self.value.startswith("retraining.")


class RequestStatus(StrEnum):
    """Where a retraining request stands; the first three are open, the last three the end.

    Completed means that the result is served and its test runs: the named stream decides whether
    the request was right. Undecided: nothing could tell by the deadline.
    """

    REQUESTED = "requested"
    APPROVED = "approved"
    RUNNING = "running"
    REJECTED = "rejected"
    COMPLETED = "completed"
    VERIFIED = "verified"
    REFUTED = "refuted"
    UNDECIDED = "undecided"

    @property
    def is_open(self) -> bool:
        return self in {RequestStatus.REQUESTED, RequestStatus.APPROVED, RequestStatus.RUNNING}

    @property
    def is_served(self) -> bool:
        """Whether what was asked for has been done and serves."""
        return self in {
            RequestStatus.COMPLETED,
            RequestStatus.VERIFIED,
            RequestStatus.REFUTED,
            RequestStatus.UNDECIDED,
        }


class Outcome(StrEnum):
    """How one attempt to deliver ended, and so what is done next."""

    DELIVERED = "delivered"
    RETRY = "retry"
    DEAD = "dead"
    DISABLED = "disabled"
    SKIPPED = "skipped"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of an incident's history: when, what happened, by whom ("" is Kedge), in words."""

    at: datetime
    what: str
    by: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """A problem of one deployment that people track from its opening to its resolution.

    `id` comes from the deployment, the mode it opened with and `opened_at`; it stays when a
    later diagnosis renames the mode. `onset` is when the change is thought to have begun that its
    tier is owed to: the earliest of the findings of that tier.
    `evidence` holds at most five sentences. `peak` is the largest evidence seen (alarm at 1)
    and `notified_peak` what it was when people were last told, at `notified_at`. `sequence`
    counts the messages made so far and `told` the modes they named. `recovering_since` is the
    first instant of the present unbroken run inside the practical margin, None outside it.

    `domains` names those of a group, whose deployment has the domain "". `snoozed_until` (wall
    clock) is when an acknowledgement ends by itself. `verdict` is what people last called it.
    """

    id: str
    deployment: Deployment
    mode: Mode
    state: IncidentState
    severity: Severity
    tier: Tier
    headline: str
    opened_at: datetime
    updated_at: datetime
    onset: datetime
    action: Action
    confidence: float = 0.0
    runner_up: Mode | None = None
    evidence: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    alarms: int = 0
    peak: float = 0.0
    notified_peak: float = 0.0
    notified_at: datetime | None = None
    sequence: int = 0
    told: tuple[Mode, ...] = ()
    recovering_since: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    closed_at: datetime | None = None
    closed_by: str = ""
    history: tuple[Change, ...] = ()
    kind: IncidentKind = IncidentKind.DRIFT
    domains: tuple[str, ...] = ()
    snoozed_until: datetime | None = None
    verdict: str = ""
    verdict_by: str = ""

    @property
    def what(self) -> str:
        """What is wrong, in a name: the mode, or for the service's own alerts their kind."""
        ours = self.kind in {IncidentKind.DRIFT, IncidentKind.GROUP}
        return self.mode.value if ours else self.kind.value

    @property
    def is_open(self) -> bool:
        """Acknowledged incidents are still open: somebody knows, nothing is mended."""
        return self.state is not IncidentState.RESOLVED


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `id` is the webhook-id, the same at every attempt; `body` is plain JSON values.

    `incident_id` is "" where no incident caused it. `created_at` is event time. `tier` and
    `severity` are what routes choose channels by.
    """

    id: str
    type: MessageType
    deployment: Deployment
    incident_id: str
    tier: Tier
    severity: Severity
    body: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RetrainingRequest:
    """One action on one scope, asked of people or machines, with the test that will judge it.

    `since` to `until` is the event-time window to train on and `rows` how many rows it holds,
    None where not counted. `harm` is how far the stream of the test was from its reference when
    it was asked for. Once completed, `version` is what serves and `served_since` (event time)
    from when on; `outcome` says in words how the test ended, at `judged_at`. `rebased_at` is
    the event time at which the domain got a reference of rows since then.
    """

    id: str
    deployment: Deployment
    incident_id: str
    mode: Mode
    action: Action
    reason: str
    requested_at: datetime
    since: datetime
    until: datetime
    rows: int | None = None
    status: RequestStatus = RequestStatus.REQUESTED
    decided_at: datetime | None = None
    decided_by: str = ""
    confidence: float = 0.0
    runner_up: Mode | None = None
    evidence: tuple[str, ...] = ()
    severity: Severity = Severity.HIGH
    harm: float | None = None
    version: str = ""
    served_since: datetime | None = None
    outcome: str = ""
    judged_at: datetime | None = None
    rebased_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.status.is_open


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was told or kept quiet: a code to count and a sentence to read."""

    code: str
    words: str
    incident_id: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What should happen: rows to save, messages to send, requests to make, and why.

    `incidents` holds only those that are new or changed.
    """

    incidents: tuple[Incident, ...] = ()
    messages: tuple[Message, ...] = ()
    retraining: tuple[RetrainingRequest, ...] = ()
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to one channel, as claimed from the outbox.

    `attempt` counts from 0 and `epoch` goes up at each claim, so that a process which lost its
    lease cannot mark what another has claimed since. Wall-clock times; `enqueued_at` is when the
    decision to send was committed.
    """

    message: Message
    channel: str
    attempt: int = 0
    epoch: int = 0
    due_at: datetime | None = None
    claimed_until: datetime | None = None
    enqueued_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of the delivery log: who was told, when, and what came back. Wall-clock times."""

    message_id: str
    channel: str
    attempt: int
    at: datetime
    outcome: Outcome
    status: int | None = None
    duration_ms: int = 0
    words: str = ""
    next_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def incident_id(deployment: Deployment, mode: Mode, opened_at: datetime) -> str:
    """The id of an incident, the same whenever the same history is evaluated."""
    return _digest("inc", deployment.model, deployment.domain, mode.value, to_us(opened_at))


def message_id(cause_id: str, kind: MessageType, sequence: int) -> str:
    """The webhook-id of the `sequence`-th message about an incident or request."""
    return _digest("msg", cause_id, kind.value, sequence)


def notice_id(cause_id: str, what: str, because: str) -> str:
    """The webhook-id of a message that the wall clock or a person brought about."""
    return _digest("msg", cause_id, "notice", what, because)


def service_incident_id(deployment: Deployment, kind: IncidentKind, opened_at: datetime) -> str:
    """The id of an alert about what arrives; wall clock, so no replay makes it."""
    return _digest("inc", kind.value, deployment.model, deployment.domain, to_us(opened_at))


def group_id(model: str, members: Sequence[str]) -> str:
    """The id of a group, from those it began with."""
    return _digest("inc", "group", model, *members)


def silence_id(matcher: str, author: str, starts_at: datetime, until: datetime) -> str:
    """The id of a silence; the same asked for twice at one instant is one."""
    return _digest("sil", matcher, author, to_us(starts_at), to_us(until))


def request_id(deployment: Deployment, action_kind: str, requested_at: datetime) -> str:
    """The id of a retraining request; usable as an orchestrator's deterministic run id."""
    return _digest("ret", deployment.model, deployment.domain, action_kind, to_us(requested_at))


def _digest(prefix: str, *parts: str | int) -> str:
    """Prefix and 96 bits of SHA-256 over JSON, which keeps ("a", "bc") and ("ab", "c") apart."""
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
