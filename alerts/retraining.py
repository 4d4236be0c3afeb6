"""Whether to ask for retraining: one intervention, on sound data, with the test that judges it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from alerts import wording
from alerts.bodies import EVIDENCE, request_body, step_body
from alerts.records import (
    Decision,
    Incident,
    Message,
    MessageType,
    Reason,
    RequestStatus,
    RetrainingRequest,
    message_id,
    request_id,
)
from alerts.settings import AlertSettings, Scope
from detectors.records import Mode, Tier

UNSOUND_DATA = frozenset({Mode.PIPELINE_FAULT, Mode.SCHEMA_MISMATCH, Mode.LABEL_SEMANTICS})
"""While one of these is open, training would learn the fault."""


def ask(
    incident: Incident,
    others: Sequence[Incident],
    requests: Sequence[RetrainingRequest],
    *,
    now: datetime,
    settings: AlertSettings,
    rows: int | None = None,
) -> Decision:
    """Ask for the incident's action if it is a retraining and nothing speaks against it now.

    `others` are the deployment's other open incidents, `requests` those of any deployment that
    are open or not older than the cooldown. Asked again at every sighting, so a request that is
    held back goes out when what held it is gone.
    """
    if not incident.action.retraining:
        return Decision()
    held = _held(incident, others, requests, now, settings)
    if held is not None:
        return Decision(reasons=(held,))
    because = wording.candidates(incident.mode, incident.runner_up, incident.confidence)
    at_once = settings.retraining.approve_at_once
    request = RetrainingRequest(
        id=request_id(incident.deployment, incident.action.kind, now),
        deployment=incident.deployment,
        incident_id=incident.id,
        mode=incident.mode,
        action=incident.action,
        reason=incident.headline,
        requested_at=now,
        since=incident.onset,
        until=now,
        rows=rows,
        status=RequestStatus.APPROVED if at_once else RequestStatus.REQUESTED,
        decided_at=now if at_once else None,
        confidence=incident.confidence,
        runner_up=incident.runner_up,
        evidence=incident.evidence[:EVIDENCE],
        severity=incident.severity,
    )
    headline = wording.requested(incident.deployment, incident.action, because)
    message = Message(
        id=message_id(request.id, MessageType.RETRAINING_REQUESTED, 1),
        type=MessageType.RETRAINING_REQUESTED,
        deployment=incident.deployment,
        incident_id=incident.id,
        tier=incident.tier,
        severity=incident.severity,
        body=request_body(request, incident, headline=headline, public_url=settings.public_url),
        created_at=now,
    )
    messages = [message]
    if at_once:
        messages.append(
            told(request, MessageType.RETRAINING_APPROVED, now=now, public_url=settings.public_url)
        )
    reason = Reason("retraining requested", headline, incident.id)
    return Decision((), tuple(messages), (request,), (reason,))


def told(
    request: RetrainingRequest, kind: MessageType, *, now: datetime, public_url: str
) -> Message:
    """The one message of this type about a request: approved, verified, refuted or undecided."""
    working_hours = {MessageType.RETRAINING_VERIFIED, MessageType.RETRAINING_UNDECIDED}
    return Message(
        id=message_id(request.id, kind, 1),
        type=kind,
        deployment=request.deployment,
        incident_id=request.incident_id,
        tier=Tier.TICKET if kind in working_hours else Tier.PAGE,
        severity=request.severity,
        body=step_body(kind, request, now=now, public_url=public_url),
        created_at=now,
    )


def _is_tested(request: RetrainingRequest, now: datetime) -> bool:
    """Whether the time of its test is not over: to ask again would be to judge before."""
    since = request.served_since
    if request.status is not RequestStatus.COMPLETED or since is None:
        return False
    return now - since <= timedelta(days=request.action.within_days)


def _held(
    incident: Incident,
    others: Sequence[Incident],
    requests: Sequence[RetrainingRequest],
    now: datetime,
    settings: AlertSettings,
) -> Reason | None:
    """Why not now, or None."""

    def held(words: str) -> Reason:
        return Reason("retraining held", words, incident.id)

    if incident.tier is not Tier.PAGE:
        return held("movement without harm does not retrain a model")
    if incident.confidence < settings.min_confidence:
        return held(
            f"confidence {incident.confidence:.2f} in {incident.mode.value} is below "
            f"{settings.min_confidence:.2f}"
        )
    unsound = [i for i in (incident, *others) if i.mode in UNSOUND_DATA and i.is_open]
    if unsound:
        return held(f"{unsound[0].mode.value} is open: training would learn the fault")
    alike = [
        r
        for r in requests
        if r.deployment == incident.deployment and r.action.kind == incident.action.kind
    ]
    waiting = [r for r in alike if r.is_open]
    if waiting:
        return held(f"request {waiting[0].id} for the same action is {waiting[0].status.value}")
    tested = [r for r in alike if _is_tested(r, now)]
    if tested:
        return held(f"the result of request {tested[0].id} serves and is being judged")
    scope = Scope.of(incident.action.scope)
    cooldown = settings.retraining.cooldowns[scope]
    last = max((r.requested_at for r in alike), default=None)
    if last is not None and now - last < cooldown:
        return held(
            f"the last request for this action was {wording.length(now - last)} ago, "
            f"the cooldown is {wording.length(cooldown)}"
        )
    most, span = settings.retraining.budgets[scope]
    spent = [
        r
        for r in requests
        if Scope.of(r.action.scope) is scope
        and r.status is not RequestStatus.REJECTED
        and now - r.requested_at < span
        and r.deployment.model == incident.deployment.model
        and (scope is Scope.ALL or r.deployment == incident.deployment)
    ]
    if len(spent) >= most:
        return held(
            f"{len(spent)} requests of scope {scope.value} within {wording.length(span)}, "
            f"the budget is {most}"
        )
    return None
