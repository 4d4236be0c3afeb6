"""Silences over HTTP: ask for one, list them, end one before its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Query, Request

from alerts.silences import Matcher, Silence, SilenceError, expire, make_silence
from monitor.api import shapes
from monitor.api.access import needs, refuse_bound
from monitor.api.author import author_of
from monitor.api.context import ApiContext
from monitor.api.errors import RequestRefusedError
from monitor.api.forms import silence_json
from monitor.api.look_up import unknown
from monitor.api.problems import PROBLEMS
from monitor.durations import parse_duration
from monitor.errors import UsageError
from monitor.oncall.desk import hush_waiting
from storage.incidents import UnknownIncidentError, get_incident, list_incidents
from storage.silences import (
    UnknownSilenceError,
    get_silence,
    list_silences,
    save_silence,
)
from storage.tokens import Scope

log = structlog.get_logger(__name__)

Id = Annotated[str, Path(max_length=400)]


def silences_router(context: ApiContext) -> APIRouter:
    """Routes about what people do not want to be told."""
    router = APIRouter(tags=["silences"])
    read, operate = (
        APIRouter(prefix="/v1", responses=PROBLEMS, dependencies=[needs(scope)])
        for scope in (Scope.READ, Scope.OPERATE)
    )
    _ask(read, context)
    _make(operate, context)
    router.include_router(read)
    router.include_router(operate)
    return router


def _ask(router: APIRouter, context: ApiContext) -> None:
    @router.get("/silences", response_model=shapes.SilenceList)
    def silences(
        all_: Annotated[bool, Query(alias="all", description="Also those that are over")] = False,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> dict[str, Any]:
        """Silences, the one that ends last first."""
        now = context.clock.now()
        with context.database.read() as session:
            found = list_silences(session, not_over_at=None if all_ else now, limit=limit)
        return {"silences": [silence_json(silence, now) for silence in found]}

    @router.get("/silences/{silence_id}", response_model=shapes.SilenceShape)
    def silence(silence_id: Id) -> dict[str, Any]:
        """One silence, over or not."""
        with context.database.read() as session:
            try:
                found = get_silence(session, silence_id)
            except UnknownSilenceError:
                known = [other.id for other in list_silences(session, limit=500)]
                raise unknown("silence", silence_id, known) from None
        return silence_json(found, context.clock.now())


def _make(router: APIRouter, context: ApiContext) -> None:
    @router.post("/silences", response_model=shapes.SilenceMade)
    def add(request: Request, deed: shapes.SilenceDeed) -> dict[str, Any]:
        """Hide messages that match every field given; messages that wait untried are taken back."""
        refuse_bound("a silence may hide any deployment")
        matcher = Matcher(
            models=tuple(deed.models),
            domains=tuple(deed.domains),
            modes=tuple(deed.modes),
            severities=tuple(deed.severities),
            tiers=tuple(deed.tiers),
            columns=tuple(deed.columns),
            incidents=tuple(deed.incidents),
        )
        return _silence(context, request, deed, matcher, deed.starts_at)

    @router.post("/incidents/{incident_id}/silence", response_model=shapes.SilenceMade)
    def silence_one(request: Request, incident_id: Id, deed: shapes.SilenceFor) -> dict[str, Any]:
        """Hide the messages of one incident for a while."""
        return silence_incident(context, request, incident_id, deed)

    @router.post("/silences/{silence_id}/expire", response_model=shapes.SilenceShape)
    def end(request: Request, silence_id: Id, deed: shapes.Deed) -> dict[str, Any]:
        """End a silence now; what is still open is told once. One that is over stays as it is."""
        now = context.clock.now()
        with context.database.write() as session:
            try:
                found = get_silence(session, silence_id, lock=True)
            except UnknownSilenceError:
                known = [other.id for other in list_silences(session, limit=500)]
                raise unknown("silence", silence_id, known) from None
            ended = expire(found, by=author_of(request, deed.by), now=now)
            save_silence(session, ended)
        log.info("silence.expired", silence=silence_id, by=ended.expired_by)
        return silence_json(ended, now)


def silence_incident(
    context: ApiContext, request: Request, incident_id: str, deed: shapes.SilenceFor
) -> dict[str, Any]:
    """Hide the messages of one incident, by a route or by the form of a page."""
    with context.database.read() as session:
        try:
            get_incident(session, incident_id)
        except UnknownIncidentError:
            known = [other.id for other in list_incidents(session, limit=500)]
            raise unknown("incident", incident_id, known) from None
    return _silence(context, request, deed, Matcher(incidents=(incident_id,)), None)


def _silence(
    context: ApiContext,
    request: Request,
    deed: shapes.SilenceDeed | shapes.SilenceFor,
    matcher: Matcher,
    starts_at: datetime | None,
) -> dict[str, Any]:
    now = context.clock.now()
    try:
        silence: Silence = make_silence(
            matcher,
            until=until_of(deed.until, deed.for_, now if starts_at is None else starts_at),
            reason=deed.reason,
            author=author_of(request, deed.by),
            now=now,
            starts_at=None if starts_at is None else starts_at.astimezone(UTC),
        )
    except SilenceError as error:
        raise RequestRefusedError(422, str(error), "POST /v1/silences") from error
    with context.database.write() as session:
        save_silence(session, silence)
        hushed = hush_waiting(session, now)
    log.info("silence.added", silence=silence.id, by=silence.author, hushed=hushed)
    return {**silence_json(silence, now), "hushed": hushed}


def until_of(until: datetime | None, lasts: str | None, starts_at: datetime) -> datetime:
    """The end of a silence; RequestRefusedError 422 unless exactly one way to say it was used."""
    if (until is None) == (lasts is None):
        raise RequestRefusedError(422, "until when?", "give `until` or `for`, one of them")
    if until is not None:
        return until.astimezone(UTC)
    assert lasts is not None
    try:
        return starts_at.astimezone(UTC) + timedelta(microseconds=parse_duration(lasts, what="for"))
    except (UsageError, OverflowError) as error:
        raise RequestRefusedError(422, str(error), "for: 2h, 3d") from error
