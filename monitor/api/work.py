"""Work on incidents, retraining requests and the outbox: each deed is one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Query, Request

from alerts.closing import acknowledge, resolve_by_person
from alerts.feedback import give_feedback
from alerts.plain import name, plain
from alerts.records import Decision
from monitor.api import shapes
from monitor.api.access import needs, refuse_bound
from monitor.api.author import author_of
from monitor.api.context import ApiContext
from monitor.api.errors import RequestRefusedError
from monitor.api.look_up import find_model, unknown
from monitor.api.problems import CONFLICT, PROBLEMS
from monitor.oncall.deeds import Do, carry_out
from monitor.reports.forms import incident_json
from storage.groups import members_of
from storage.incidents import UnknownIncidentError, get_incident, list_incidents
from storage.outbox import get_message, replay_dead
from storage.tokens import Scope

log = structlog.get_logger(__name__)

Id = Annotated[str, Path(max_length=400)]


def work_router(context: ApiContext) -> APIRouter:
    """Routes that change what people track."""
    router = APIRouter(
        prefix="/v1", responses={**PROBLEMS, **CONFLICT}, dependencies=[needs(Scope.OPERATE)]
    )
    _incidents(router, context)
    _service(router, context)
    return router


def _incidents(router: APIRouter, context: ApiContext) -> None:
    @router.post(
        "/incidents/{incident_id}/ack", response_model=shapes.IncidentDone, tags=["incidents"]
    )
    def ack(request: Request, incident_id: Id, deed: shapes.Acknowledge) -> dict[str, Any]:
        """Take an incident: reminders stop, until `until` if that is given. Twice is once."""
        return ack_incident(context, request, incident_id, deed)

    @router.post(
        "/incidents/{incident_id}/resolve", response_model=shapes.IncidentDone, tags=["incidents"]
    )
    def resolve(request: Request, incident_id: Id, deed: shapes.Deed) -> dict[str, Any]:
        """Close an incident and tell its channels; alarms that go on will open it again."""
        return resolve_incident(context, request, incident_id, deed)

    @router.post(
        "/incidents/{incident_id}/feedback", response_model=shapes.IncidentDone, tags=["incidents"]
    )
    def feedback(request: Request, incident_id: Id, deed: shapes.Feedback) -> dict[str, Any]:
        """Write down what was found out, while the incident is open or after."""
        return note_feedback(context, request, incident_id, deed)


def ack_incident(
    context: ApiContext, request: Request, incident_id: str, deed: shapes.Acknowledge
) -> dict[str, Any]:
    """Take an incident, by a route or by the form of a page."""
    by = author_of(request, deed.by)
    until = None if deed.until is None else deed.until.astimezone(UTC)
    if until is not None and until <= context.clock.now():
        raise RequestRefusedError(
            422, f"until {until:%Y-%m-%d %H:%M}Z is over", "give a time to come, or none"
        )
    return work(
        context,
        incident_id,
        lambda incident, at: _with_note(
            acknowledge(incident, by=by, now=at, until=until, settings=context.alerts),
            deed.note,
        ),
    )


def resolve_incident(
    context: ApiContext, request: Request, incident_id: str, deed: shapes.Deed
) -> dict[str, Any]:
    """Close an incident, and those it speaks for."""
    by = author_of(request, deed.by)
    return work(
        context,
        incident_id,
        lambda incident, at: resolve_by_person(
            incident, by=by, now=at, note=deed.note, settings=context.alerts
        ),
        members_too=True,
    )


def note_feedback(
    context: ApiContext, request: Request, incident_id: str, deed: shapes.Feedback
) -> dict[str, Any]:
    """Write down what a person found out."""
    if deed.verdict is None and not deed.note:
        raise RequestRefusedError(422, "feedback without words", "give a verdict or a note")
    by = author_of(request, deed.by)
    return work(
        context,
        incident_id,
        lambda incident, at: give_feedback(
            incident, by=by, now=at, verdict=deed.verdict, note=deed.note
        ),
    )


def work(
    context: ApiContext, incident_id: str, do: Do, *, members_too: bool = False
) -> dict[str, Any]:
    """Decide, save and enqueue in one transaction, so that a check and a person never mix.

    `members_too`: what is done to a group is done to those it speaks for.
    """
    wall = context.clock.now()
    with context.database.write() as session:
        for member in members_of(session, incident_id) if members_too else ():
            if get_incident(session, member).is_open:
                carry_out(session, member, do, context.routing(), wall)
        try:
            after, decision = carry_out(session, incident_id, do, context.routing(), wall)
        except UnknownIncidentError:
            known = [other.id for other in list_incidents(session, limit=500)]
            raise unknown("incident", incident_id, known) from None
    outcome = decision.reasons[0].code
    log.info("incident.worked_on", incident=incident_id, outcome=outcome)
    return {**incident_json(after), "outcome": outcome}


def _with_note(decision: Decision, note: str) -> Decision:
    if not note or not decision.incidents:
        return decision
    (incident,) = decision.incidents
    *earlier, last = incident.history
    words = f"{last.words}: {plain(note)}" if last.words else plain(note)
    noted = replace(incident, history=(*earlier, replace(last, words=words)))
    return replace(decision, incidents=(noted,))


def _service(router: APIRouter, context: ApiContext) -> None:
    @router.post("/flush", response_model=shapes.Flushed, tags=["service"])
    def flush(body: shapes.FlushBody) -> dict[str, Any]:
        """Close every tick of a model now, as at the end of a file."""
        with context.database.read() as session:
            find_model(session, context.config(), body.model)
        refuse_bound("this closes every domain of a model", only_to_domains=True)
        return {"model": body.model, "counts": dict(context.flush(body.model))}

    @router.post("/outbox/{message_id}/replay", response_model=shapes.Replayed, tags=["outbox"])
    def replay(
        message_id: Id, channel: Annotated[str | None, Query(max_length=200)] = None
    ) -> dict[str, Any]:
        """Send a message again that was given up, under the same id."""
        with context.database.write() as session:
            if get_message(session, message_id) is None:
                raise RequestRefusedError(
                    404, f"no message '{name(message_id)}'", "GET /v1/outbox lists dead letters"
                )
            replayed = replay_dead(
                session, context.clock.now(), message_id=message_id, channel=channel
            )
        if not replayed:
            raise RequestRefusedError(
                409, "this message was not given up", "GET /v1/outbox lists dead letters"
            )
        log.info("message.replayed", message=message_id, deliveries=replayed)
        return {"id": message_id, "replayed": replayed}
