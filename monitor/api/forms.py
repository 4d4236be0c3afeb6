"""Stored records as the plain JSON values that routes and pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from alerts.records import SERVICE_KINDS, IncidentKind, RetrainingRequest
from alerts.silences import Silence
from detectors.records import (
    HOUR_US,
    Action,
    Deployment,
    Maturity,
    State,
    Tier,
    TransferState,
    to_datetime,
)
from monitor.reports.forms import iso
from storage.deployments import DeploymentState
from storage.outbox import DeadLetter, Waiting
from storage.references import Reference

Open = Mapping[tuple[Deployment, Tier], int]
Arrivals = Mapping[Deployment, tuple[IncidentKind, ...]]

_NOT_YET = {
    "state": TransferState.UNDETERMINED.value,
    "words": "no cohort of labels has been judged yet",
    "difference": None,
    "ci": [None, None],
    "rows": 0,
}


def domain_json(
    state: DeploymentState,
    open_incidents: Open,
    waiting: Mapping[Deployment, int],
    arrivals: Arrivals,
) -> dict[str, Any]:
    """Where a deployment stands; `status` is empty before its first check.

    `waiting` counts the mappings that nobody has verified, and `arrivals` names what is amiss with
    its rows and labels, or with those of its whole model: with either, a domain is never just ok.
    """
    deployment, status = state.deployment, state.status
    pages = open_incidents.get((deployment, Tier.PAGE), 0)
    tickets = open_incidents.get((deployment, Tier.TICKET), 0)
    transfer = {key: status.get("transfer", _NOT_YET).get(key) for key in _NOT_YET}
    maturity = status.get("maturity", Maturity.WARMING.value)
    answer, words = _standing(bool(status), maturity, transfer["state"], pages, tickets)
    unverified = waiting.get(deployment, 0)
    if unverified:
        answer = State.WATCH if answer is State.OK else answer
        words = f"unverified: {_count(unverified, 'mapping')} to review; {words}"
    amiss = arrivals_of(deployment, arrivals)
    if amiss:
        known = answer in {State.HARM, State.DRIFT}
        answer = answer if known else _WHILE_AMISS[amiss[0]]
        words = f"{', '.join(kind.value for kind in amiss)}; {words}"
    tick_us = status.get("tick_us")
    return {
        "model": deployment.model,
        "domain": deployment.domain,
        "state": answer.value,
        "words": words,
        "maturity": maturity,
        "guaranteed": bool(status.get("guaranteed", False)),
        "why_not": status.get("why_not", "not evaluated yet"),
        "transfer": transfer,
        "verification": "unverified" if unverified else "verified",
        "arrivals": [kind.value for kind in amiss],
        "open_incidents": {"page": pages, "ticket": tickets},
        "pages": status.get("pages", 0),
        "tickets": status.get("tickets", 0),
        "rows": state.rows,
        "late_rows": state.late_rows,
        "first_event": instant(state.first_event_us),
        "last_event": instant(state.last_event_us),
        "evaluated_until": instant(state.evaluated_until_us),
        "cohorts_evaluated_until": instant(state.cohort_evaluated_until_us),
        "tick_hours": None if tick_us is None else tick_us / HOUR_US,
    }


_WHILE_AMISS = {
    IncidentKind.SOURCE_QUIET: State.WATCH,
    IncidentKind.NO_LABELS: State.WATCH,
    IncidentKind.TOO_LITTLE_DATA: State.UNDETERMINED,
}


def arrivals_of(deployment: Deployment, arrivals: Arrivals) -> tuple[IncidentKind, ...]:
    """What is amiss with a domain's rows and labels; a source that is quiet is so everywhere."""
    own = {
        *arrivals.get(deployment, ()),
        *arrivals.get(Deployment(deployment.model, ""), ()),
    }
    return tuple(kind for kind in SERVICE_KINDS if kind in own)


def _standing(
    evaluated: bool, maturity: str, transfer: str, pages: int, tickets: int
) -> tuple[State, str]:
    """The worst of what is known, in a word and in words."""
    if transfer == TransferState.HURTS.value:
        return State.HARM, "the transferred model does worse than the one from scratch"
    if pages:
        return State.DRIFT, f"{_count(pages, 'page')} open"
    if tickets:
        return State.WATCH, f"{_count(tickets, 'ticket')} open"
    if not evaluated:
        return State.UNDETERMINED, "not evaluated yet"
    if maturity == Maturity.WARMING.value:
        return State.UNDETERMINED, "warming: too little history to judge"
    return State.OK, "nothing open"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def request_json(request: RetrainingRequest) -> dict[str, Any]:
    """A retraining request."""
    return {
        "id": request.id,
        "model": request.deployment.model,
        "domain": request.deployment.domain,
        "incident_id": request.incident_id,
        "mode": request.mode.value,
        "action": action_json(request.action),
        "reason": request.reason,
        "status": request.status.value,
        "requested_at": iso(request.requested_at),
        "since": iso(request.since),
        "until": iso(request.until),
        "rows": request.rows,
        "decided_at": moment(request.decided_at),
        "decided_by": request.decided_by or None,
        "layer": request.action.layer or None,
        "confidence": request.confidence,
        "runner_up": None if request.runner_up is None else request.runner_up.value,
        "evidence": list(request.evidence),
        "test": None
        if not request.action.stream
        else {"stream": request.action.stream, "within_days": request.action.within_days},
        "version": request.version or None,
        "served_since": moment(request.served_since),
        "outcome": request.outcome or None,
        "judged_at": moment(request.judged_at),
        "rebased_at": moment(request.rebased_at),
    }


def action_json(action: Action) -> dict[str, str]:
    """The one thing to do."""
    return {
        "kind": action.kind,
        "scope": action.scope,
        "cadence": action.cadence,
        "falsified_by": action.falsified_by,
    }


def reference_json(reference: Reference) -> dict[str, Any]:
    """A reference without its rows."""
    return {
        "id": reference.id,
        "model": reference.model,
        "domain": reference.domain,
        "role": reference.role.value,
        "version": reference.version,
        "status": reference.status.value,
        "rows": reference.rows,
        "since": instant(reference.since_us),
        "until": instant(reference.until_us),
        "columns": {column.name: column.kind.value for column in reference.schema.columns},
        "note": reference.note,
        "created_at": iso(reference.created_at),
        "approved_by": reference.approved_by or None,
        "activated_at": moment(reference.activated_at),
        "retired_at": moment(reference.retired_at),
    }


def delivery_json(item: Waiting | DeadLetter) -> dict[str, Any]:
    """A message that has not reached a channel."""
    message = item.message
    return {
        "id": message.id,
        "type": message.type.value,
        "model": message.deployment.model,
        "domain": message.deployment.domain,
        "incident_id": message.incident_id or None,
        "channel": item.channel,
        "attempts": item.attempts,
        "due_at": iso(item.due_at) if isinstance(item, Waiting) else None,
        "dead_at": iso(item.dead_at) if isinstance(item, DeadLetter) else None,
        "last_error": item.last_error,
    }


def silence_json(silence: Silence, now: datetime) -> dict[str, Any]:
    """A silence as lists and pages show it."""
    matches = {
        field.name: [str(getattr(v, "value", v)) for v in getattr(silence.matcher, field.name)]
        for field in fields(silence.matcher)
    }
    return {
        "id": silence.id,
        "active": silence.is_active(now),
        "starts_at": iso(silence.starts_at),
        "until": iso(silence.until),
        "ends_at": iso(silence.ends_at),
        "reason": silence.reason,
        "author": silence.author,
        "created_at": iso(silence.created_at),
        "expired_at": moment(silence.expired_at),
        "expired_by": silence.expired_by or None,
        "matches": {name: values for name, values in matches.items() if values},
        "words": silence.matcher.words(),
    }


def moment(at: datetime | None) -> str | None:
    """An instant as RFC 3339 with Z, None where there is none."""
    return None if at is None else iso(at)


def instant(at_us: int | None) -> str | None:
    """Microseconds since 1970 UTC as RFC 3339 with Z, None where there is none."""
    return None if at_us is None else iso(to_datetime(at_us))
