"""Whether to ask for retraining: one intervention, on sound data, with the test that judges it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alerts import wording
from alerts.bodies import request_body
from alerts.records import (
    Decision,
    Incident,
    Message,
    MessageType,
    Reason,
    RetrainingRequest,
    message_id,
    request_id,
)
from alerts.settings import AlertSettings
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
    reason = Reason("retraining requested", headline, incident.id)
    return Decision((), (message,), (request,), (reason,))


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
    last = max((r.requested_at for r in alike), default=None)
    if last is not None and now - last < settings.cooldown:
        return held(
            f"the last request for this action was {wording.length(now - last)} ago, "
            f"the cooldown is {wording.length(settings.cooldown)}"
        )
    return None
