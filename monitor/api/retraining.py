"""Work on retraining requests: approve, reject, start, complete. Each step is one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request
from pydantic import AwareDatetime, Field
from sqlalchemy.orm import Session

from alerts.plain import name, plain
from alerts.records import MessageType, RequestStatus, RetrainingRequest
from alerts.retraining import told
from detectors.records import to_datetime
from monitor.api import shapes
from monitor.api.access import needs
from monitor.api.author import author_of
from monitor.api.context import ApiContext
from monitor.api.forms import request_json
from monitor.api.look_up import unknown
from monitor.api.problems import CONFLICT, PROBLEMS
from monitor.oncall.dispatch import post
from storage.deployments import get_deployment
from storage.retraining import (
    UnknownRequestError,
    change_status,
    get_request,
    list_requests,
)
from storage.tokens import Scope

log = structlog.get_logger(__name__)

Id = Annotated[str, Path(max_length=400)]


class Completion(shapes.Deed):
    """What serves now, and from when on (event time; the newest event where it is not said)."""

    version: shapes.Note = Field("", max_length=200, description="The version that serves now")
    served_since: AwareDatetime | None = None


def retraining_router(context: ApiContext) -> APIRouter:
    """Routes that move a request along its life cycle."""
    router = APIRouter(
        prefix="/v1/retraining-requests/{request_id}",
        responses={**PROBLEMS, **CONFLICT},
        dependencies=[needs(Scope.OPERATE)],
        tags=["retraining"],
    )

    @router.post("/approve", response_model=shapes.RequestShape)
    def approve(request: Request, request_id: Id, deed: shapes.Deed) -> dict[str, Any]:
        """Let a request go ahead; the channels that train are told."""
        return take_step(context, request, request_id, RequestStatus.APPROVED, deed)

    @router.post("/reject", response_model=shapes.RequestShape)
    def reject(request: Request, request_id: Id, deed: shapes.Deed) -> dict[str, Any]:
        """Turn a request down."""
        return take_step(context, request, request_id, RequestStatus.REJECTED, deed)

    @router.post("/start", response_model=shapes.RequestShape)
    def start(request: Request, request_id: Id, deed: shapes.Deed) -> dict[str, Any]:
        """Say that training runs."""
        return take_step(context, request, request_id, RequestStatus.RUNNING, deed)

    @router.post("/complete", response_model=shapes.RequestShape)
    def complete(request: Request, request_id: Id, deed: Completion) -> dict[str, Any]:
        """Say that the result serves; the stream of its test then decides whether it worked."""
        return take_step(
            context,
            request,
            request_id,
            RequestStatus.COMPLETED,
            deed,
            version=deed.version,
            served_since=deed.served_since,
        )

    return router


def take_step(
    context: ApiContext,
    request: Request,
    request_id: str,
    status: RequestStatus,
    deed: shapes.Deed,
    *,
    version: str = "",
    served_since: datetime | None = None,
) -> dict[str, Any]:
    """Move a request along, by a route or by the form of a page; an approval is told."""
    now = context.clock.now()
    with context.database.write() as session:
        before = _find(session, request_id)
        if status is RequestStatus.COMPLETED and served_since is None:
            served_since = _newest_event(session, before)
        after = change_status(
            session,
            request_id,
            status,
            by=author_of(request, deed.by),
            now=now,
            words=plain(deed.note, 1_000),
            version=name(version),
            served_since=served_since,
        )
        if status is RequestStatus.APPROVED and before.status is not RequestStatus.APPROVED:
            message = told(
                after,
                MessageType.RETRAINING_APPROVED,
                now=now,
                public_url=context.alerts.public_url,
            )
            post(session, message, context.routing(), now)
    log.info("request.changed", request=request_id, status=after.status.value)
    return request_json(after)


def _find(session: Session, request_id: str) -> RetrainingRequest:
    try:
        return get_request(session, request_id)
    except UnknownRequestError:
        known = [other.id for other in list_requests(session, limit=500)]
        raise unknown("retraining request", request_id, known) from None


def _newest_event(session: Session, request: RetrainingRequest) -> datetime:
    """Where event time stands: the next event is the first that the new version can have served."""
    state = get_deployment(session, request.deployment)
    last_us = None if state is None else state.last_event_us
    return request.until if last_us is None else max(request.until, to_datetime(last_us + 1))
