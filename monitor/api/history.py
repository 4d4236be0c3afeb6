"""Everything that happened around one incident: what was seen, done, told, held and asked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from alerts.holding import HoldKind
from alerts.records import Incident
from monitor.api.access import needs
from monitor.api.context import ApiContext
from monitor.api.look_up import unknown
from monitor.api.problems import PROBLEMS
from monitor.reports.forms import iso
from storage.groups import group_of, members_of
from storage.incidents import UnknownIncidentError, get_incident, list_incidents
from storage.outbox import incident_log
from storage.retraining import list_requests, request_history
from storage.silences import UnknownSilenceError, get_silence, holds_of
from storage.tokens import Scope

Id = Annotated[str, Path(max_length=400)]


class HistoryLine(BaseModel):
    """One thing that happened. `by` "" is Kedge itself."""

    at: datetime
    clock: Literal["event", "wall"] = Field(
        description="event: when in the data; wall: when it was done"
    )
    what: str
    by: str
    words: str
    id: str | None = Field(description="The message, silence, request or group it is about")


class History(BaseModel):
    """The trail in order of event time, then what the service did in order of the wall clock."""

    incident: str
    history: list[HistoryLine]


def history_router(context: ApiContext) -> APIRouter:
    """The route for audits."""
    router = APIRouter(
        prefix="/v1", tags=["incidents"], responses=PROBLEMS, dependencies=[needs(Scope.READ)]
    )

    @router.get("/incidents/{incident_id}/history", response_model=History)
    def history(incident_id: Id) -> dict[str, Any]:
        """Who did what and when: the trail, messages and replies, silences, groups, requests."""
        return find_history(context, incident_id)

    return router


def find_history(context: ApiContext, incident_id: str) -> dict[str, Any]:
    """The history of an incident; RequestRefusedError 404 with the nearest known id."""
    with context.database.read() as session:
        try:
            incident = get_incident(session, incident_id)
        except UnknownIncidentError:
            known = [other.id for other in list_incidents(session, limit=500)]
            raise unknown("incident", incident_id, known) from None
        seen = [_line(c.at, "event", c.what, c.by, c.words) for c in incident.history]
        done = [
            *_told(session, incident),
            *_silences(session, incident),
            *_groups(session, incident),
            *_requests(session, incident),
        ]
    done.sort(key=lambda line: (line["at"], line["what"], line["id"] or ""))
    return {"incident": incident.id, "history": [*seen, *done]}


def _line(
    at: datetime, clock: str, what: str, by: str, words: str, about: str | None = None
) -> dict[str, Any]:
    return {"at": iso(at), "clock": clock, "what": what, "by": by, "words": words, "id": about}


def _told(session: Session, incident: Incident) -> list[dict[str, Any]]:
    """Attempts and what waits; a held message is an attempt at no channel."""
    lines = []
    for told in incident_log(session, incident.id):
        if told.attempt is None:
            assert told.due_at is not None
            words = f"{told.type.value} waits for {told.channel}"
            lines.append(_line(told.due_at, "wall", "waits", "", words, told.message_id))
            continue
        attempt = told.attempt
        where = f" to {attempt.channel}" if attempt.channel else ""
        words = f"{told.type.value}{where}: {attempt.words}".removesuffix(": ")
        lines.append(
            _line(attempt.at, "wall", attempt.outcome.value, "", words, attempt.message_id)
        )
    return lines


def _silences(session: Session, incident: Incident) -> list[dict[str, Any]]:
    """Who asked for the silences that hid something of it, and who ended them."""
    holds = holds_of(session, incident.id)
    lines = []
    for silence_id in dict.fromkeys(
        held.hold.by for held in holds if held.hold.kind is HoldKind.SILENCE
    ):
        try:
            found = get_silence(session, silence_id)
        except UnknownSilenceError:  # of somebody else, for a token that is bound
            continue
        lines.append(
            _line(found.created_at, "wall", "silenced", found.author, found.words(), found.id)
        )
        if found.expired_at is not None:
            lines.append(
                _line(found.expired_at, "wall", "silence ended", found.expired_by, "", found.id)
            )
    settled = {held.hold.by: held for held in holds if held.settled_at is not None}
    for by, held in settled.items():
        assert held.settled_at is not None
        if held.hold.kind is not HoldKind.UNTOLD:
            lines.append(_line(held.settled_at, "wall", "no longer held", "", "", by))
    return lines


def _groups(session: Session, incident: Incident) -> list[dict[str, Any]]:
    """The group that speaks for it, and those it speaks for."""
    lines = []
    group = group_of(session, incident.id)
    if group is not None:
        lines.append(_line(group.opened_at, "event", "in a group", "", group.headline, group.id))
    for member in members_of(session, incident.id):
        found = get_incident(session, member)
        lines.append(_line(found.opened_at, "event", "speaks for", "", found.headline, found.id))
    return lines


def _requests(session: Session, incident: Incident) -> list[dict[str, Any]]:
    """Steps of its retraining requests: Kedge dates them by the data, people by the clock."""
    own = [
        request
        for request in list_requests(session, incident.deployment, limit=1_000)
        if request.incident_id == incident.id
    ]
    return [
        _line(
            step.at,
            "wall" if step.by else "event",
            f"retraining {step.status.value}",
            step.by,
            step.words or request.action.kind,
            request.id,
        )
        for request in own
        for step in request_history(session, request.id)
    ]
