"""Message bodies: plain JSON values, made safe to show, always under 20 kB.

One shape for every type: `type`, `timestamp` (event time of the cause) and `data`. Receivers may
rely on `data.id`, `model`, `domain`, `headline`, `severity`, `action` and `links` being there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from alerts.plain import name, plain
from alerts.records import Incident, IncidentKind, MessageType, RetrainingRequest
from alerts.runbooks import page_of, runbook_link
from detectors.records import Action, Deployment

BODY_BYTES = 20_000
EVIDENCE = 5
STREAMS = 10
DOMAINS = 100


def encode(body: Mapping[str, Any]) -> bytes:
    """The exact bytes of a body: compact JSON in UTF-8, the same at every attempt."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def incident_body(
    kind: MessageType, incident: Incident, *, now: datetime, public_url: str, headline: str = ""
) -> dict[str, Any]:
    """The body of a message about an incident."""
    streams = [name(stream) for stream in incident.streams[:STREAMS]]
    data: dict[str, Any] = {
        **_identity(incident.id, incident.deployment),
        "headline": plain(headline or incident.headline),
        "severity": incident.severity.value,
        "tier": incident.tier.value,
        "state": incident.state.value,
        "diagnosis": {
            "mode": incident.what,
            "confidence": round(incident.confidence, 3),
            "runner_up": incident.runner_up.value if incident.runner_up else None,
            "columns": [name(column) for column in incident.columns[:STREAMS]],
        },
        "action": _action(incident.action),
        "evidence": [plain(sentence) for sentence in incident.evidence[:EVIDENCE]],
        "opened_at": iso(incident.opened_at),
        "onset": iso(incident.onset),
        "closed_at": iso(incident.closed_at) if incident.closed_at else None,
        "sequence": incident.sequence,
        "alarms": incident.alarms,
        "streams": streams,
        "links": {
            **links(incident.deployment, incident.id, public_url),
            "runbook": runbook_link(_page(kind, incident), public_url),
        },
    }
    if incident.domains:
        data["domains"] = [name(domain) for domain in incident.domains[:DOMAINS]]
    return fit({"type": kind.value, "timestamp": iso(now), "data": data})


def request_body(
    request: RetrainingRequest, incident: Incident, *, headline: str, public_url: str
) -> dict[str, Any]:
    """The body of a retraining request: one action, its reason, its window, its test."""
    data: dict[str, Any] = {
        **_identity(request.id, request.deployment),
        "headline": plain(headline),
        "severity": incident.severity.value,
        "incident": incident.id,
        "diagnosis": _cause(request),
        "action": _action(request.action),
        "test": _test(request.action),
        "reason": plain(request.reason),
        "evidence": [plain(sentence) for sentence in incident.evidence[:EVIDENCE]],
        "window": {"since": iso(request.since), "until": iso(request.until), "rows": request.rows},
        "links": {
            "request": f"{public_url.rstrip('/')}/v1/retraining-requests/{request.id}",
            **links(request.deployment, incident.id, public_url),
            "runbook": runbook_link(MessageType.RETRAINING_REQUESTED, public_url),
        },
    }
    kind = MessageType.RETRAINING_REQUESTED
    return fit({"type": kind.value, "timestamp": iso(request.requested_at), "data": data})


def step_body(
    kind: MessageType, request: RetrainingRequest, *, now: datetime, public_url: str
) -> dict[str, Any]:
    """The body of what became of a request: approved, verified, refuted, undecided."""
    place = f"{name(request.deployment.model)}/{name(request.deployment.domain)}"
    what = f"{plain(request.action.kind)} ({plain(request.action.scope)})"
    ended = f" — {plain(request.outcome)}" if request.outcome else ""
    data: dict[str, Any] = {
        **_identity(request.id, request.deployment),
        "headline": plain(f"{place}: {what} {kind.value.partition('.')[2]}{ended}"),
        "severity": request.severity.value,
        "incident": request.incident_id,
        "status": request.status.value,
        "diagnosis": _cause(request),
        "action": _action(request.action),
        "reason": plain(request.reason),
        "evidence": [plain(sentence) for sentence in request.evidence[:EVIDENCE]],
        "window": {"since": iso(request.since), "until": iso(request.until), "rows": request.rows},
        "test": _test(request.action),
        "approved_by": name(request.decided_by) or None,
        "version": name(request.version) or None,
        "served_since": None if request.served_since is None else iso(request.served_since),
        "outcome": plain(request.outcome) or None,
        "links": {
            "request": f"{public_url.rstrip('/')}/v1/retraining-requests/{request.id}",
            **links(request.deployment, request.incident_id, public_url),
            "runbook": runbook_link(kind, public_url),
        },
    }
    return fit({"type": kind.value, "timestamp": iso(now), "data": data})


def _cause(request: RetrainingRequest) -> dict[str, Any]:
    return {
        "mode": request.mode.value,
        "confidence": round(request.confidence, 3),
        "runner_up": request.runner_up.value if request.runner_up else None,
    }


def _test(action: Action) -> dict[str, Any] | None:
    """The stream that will show whether it worked, and by when; None where none can."""
    if not action.stream:
        return None
    return {"stream": name(action.stream), "within_days": action.within_days}


def fit(body: dict[str, Any]) -> dict[str, Any]:
    """Drop streams, domains and evidence from their ends, then columns, until under the limit.

    What is left is bounded by the limits on single texts, far below 20 kB.
    """
    data = body["data"]
    for key in ("streams", "domains", "evidence"):
        while data.get(key) and len(encode(body)) >= BODY_BYTES:
            data[key] = data[key][:-1]
            data["truncated"] = True
    if len(encode(body)) >= BODY_BYTES and isinstance(data.get("diagnosis"), Mapping):
        data["diagnosis"] = {k: v for k, v in data["diagnosis"].items() if k != "columns"}
        data["truncated"] = True
    return body


def links(deployment: Deployment, incident_id: str, public_url: str) -> dict[str, str]:
    """Where to read on. Names are percent-encoded whole: none can leave its path segment."""
    base = public_url.rstrip("/")
    model, domain = (
        quote(part.encode(errors="replace"), safe="")
        for part in (deployment.model, deployment.domain)
    )
    found = {"incident": f"{base}/v1/incidents/{incident_id}"}
    if domain and len(model) + len(domain) < 2_000:
        found["report"] = f"{base}/v1/models/{model}/domains/{domain}/report"
    return found


def iso(instant: datetime) -> str:
    """RFC 3339 in UTC with a Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


SERVICE_PAGES: Mapping[IncidentKind, str] = {
    IncidentKind.SOURCE_QUIET: MessageType.SOURCE_QUIET.value,
    IncidentKind.NO_LABELS: MessageType.LABELS_MISSING.value,
    IncidentKind.TOO_LITTLE_DATA: MessageType.TOO_LITTLE_DATA.value,
}
"""Alerts about what arrives have a runbook of their own in place of a diagnosis."""


def _page(kind: MessageType, incident: Incident) -> str:
    """What the runbook page is about: the cause; where a person's eyes are asked for, that."""
    if kind is MessageType.MAPPING_REVIEW_REQUESTED:
        return kind.value
    return SERVICE_PAGES.get(incident.kind) or page_of(incident.what, incident.streams)


def _identity(cause_id: str, deployment: Deployment) -> dict[str, str]:
    return {"id": cause_id, "model": name(deployment.model), "domain": name(deployment.domain)}


def _action(action: Action) -> dict[str, Any]:
    return {
        "kind": plain(action.kind),
        "scope": plain(action.scope),
        "cadence": plain(action.cadence),
        "falsified_by": plain(action.falsified_by),
        "layer": plain(action.layer) or None,
        "retraining": action.retraining,
    }
