"""Retraining requests and every step they took."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from alerts.records import RequestStatus, RetrainingRequest
from detectors.records import Deployment
from storage.engine import insert_into, rows_changed
from storage.tables import RetrainingChangeRow, RetrainingRow


class UnknownRequestError(LookupError):
    """No retraining request has this id."""


class RequestStateError(ValueError):
    """The request is not in a state from which this step can be taken."""


@dataclass(frozen=True, slots=True)
class RequestChange:
    """One step of a request: when, to which status, by whom ("" is Kedge), in words."""

    at: datetime
    status: RequestStatus
    by: str = ""
    words: str = ""


_NEXT = {
    RequestStatus.REQUESTED: (
        RequestStatus.APPROVED,
        RequestStatus.REJECTED,
        RequestStatus.COMPLETED,
    ),
    RequestStatus.APPROVED: (
        RequestStatus.RUNNING,
        RequestStatus.REJECTED,
        RequestStatus.COMPLETED,
    ),
    RequestStatus.RUNNING: (RequestStatus.REJECTED, RequestStatus.COMPLETED),
    RequestStatus.COMPLETED: (
        RequestStatus.VERIFIED,
        RequestStatus.REFUTED,
        RequestStatus.UNDECIDED,
    ),
    RequestStatus.REJECTED: (),
    RequestStatus.VERIFIED: (),
    RequestStatus.REFUTED: (),
    RequestStatus.UNDECIDED: (),
}
"""What a person or machine may do next. Completed is the end for them: evidence says the rest."""
_BY_EVIDENCE = (RequestStatus.VERIFIED, RequestStatus.REFUTED, RequestStatus.UNDECIDED)


def add_request(session: Session, request: RetrainingRequest) -> bool:
    """Store a request; False, and nothing changed, if it is there already."""
    insert = insert_into(session, RetrainingRow).values(
        id=request.id,
        model=request.deployment.model,
        domain=request.deployment.domain,
        incident_id=request.incident_id,
        action=request.action.kind,
        status=request.status.value,
        requested_at=request.requested_at,
        record=msgspec.json.encode(request).decode(),
    )
    if rows_changed(session, insert.on_conflict_do_nothing()) == 0:
        return False
    _note(session, request.id, RequestChange(request.requested_at, request.status))
    return True


def change_status(
    session: Session,
    request_id: str,
    status: RequestStatus,
    *,
    by: str,
    now: datetime,
    words: str = "",
    version: str = "",
    served_since: datetime | None = None,
) -> RetrainingRequest:
    """Take one step and return the request after it. The same step again changes nothing.

    UnknownRequestError; RequestStateError for a step that its status does not allow, for one that
    somebody else was faster with, and for a completion that names another version than before.
    """
    query = select(RetrainingRow.record).where(RetrainingRow.id == request_id)
    request = _request(request_id, session.scalar(query.with_for_update()))
    if request.status is status:
        if version and version != request.version:
            msg = (
                f"request {request_id} is {status.value} with version "
                f"'{request.version or 'not named'}' and stays so; that is not '{version}'"
            )
            raise RequestStateError(msg)
        return request
    allowed = tuple(step for step in _NEXT[request.status] if step not in _BY_EVIDENCE)
    if status not in allowed:
        choices = ", ".join(choice.value for choice in allowed) or "nothing, it is closed"
        msg = f"request {request_id} is {request.status}, not to be {status}; it may be: {choices}"
        raise RequestStateError(msg)
    changed = replace(
        request,
        status=status,
        decided_at=now,
        decided_by=by,
        version=version or request.version,
        served_since=served_since or request.served_since,
    )
    if not _replaced(session, request.status, changed):
        msg = f"request {request_id} was changed by somebody else at the same time; look again"
        raise RequestStateError(msg)
    _note(session, request_id, RequestChange(now, status, by, words))
    return changed


def save_judged(session: Session, request: RetrainingRequest) -> bool:
    """Store how the test of a completed request ended, or that its domain was re-based.

    False, and nothing changed, if it is not completed (any more), or already says the same.
    """
    query = select(RetrainingRow.record).where(RetrainingRow.id == request.id)
    stored = _request(request.id, session.scalar(query.with_for_update()))
    if not stored.status.is_served or stored == request:
        return False
    if not _replaced(session, stored.status, request):
        return False
    if stored.status is not request.status:
        at = request.judged_at or request.requested_at
        _note(session, request.id, RequestChange(at, request.status, words=request.outcome))
    return True


def _replaced(session: Session, before: RequestStatus, after: RetrainingRequest) -> bool:
    """Write the record where the status is still what was read: how a race is lost."""
    return (
        rows_changed(
            session,
            update(RetrainingRow)
            .where(RetrainingRow.id == after.id, RetrainingRow.status == before.value)
            .values(status=after.status.value, record=msgspec.json.encode(after).decode()),
        )
        == 1
    )


def get_request(session: Session, request_id: str) -> RetrainingRequest:
    """One request; UnknownRequestError."""
    query = select(RetrainingRow.record).where(RetrainingRow.id == request_id)
    return _request(request_id, session.scalar(query))


def list_requests(
    session: Session,
    deployment: Deployment | None = None,
    *,
    status: RequestStatus | None = None,
    since: datetime | None = None,
    limit: int = 100,
) -> tuple[RetrainingRequest, ...]:
    """Requests made at `since` or later, newest first, at most `limit`."""
    query = select(RetrainingRow.id, RetrainingRow.record)
    if deployment is not None:
        query = query.where(
            RetrainingRow.model == deployment.model, RetrainingRow.domain == deployment.domain
        )
    if status is not None:
        query = query.where(RetrainingRow.status == status.value)
    if since is not None:
        query = query.where(RetrainingRow.requested_at >= since)
    ordered = query.order_by(RetrainingRow.requested_at.desc(), RetrainingRow.id).limit(limit)
    return tuple(_request(*row) for row in session.execute(ordered))


def request_history(session: Session, request_id: str) -> tuple[RequestChange, ...]:
    """Every step of a request, in order."""
    query = (
        select(RetrainingChangeRow)
        .where(RetrainingChangeRow.request_id == request_id)
        .order_by(RetrainingChangeRow.id)
    )
    return tuple(
        RequestChange(row.at, RequestStatus(row.status), row.author, row.words)
        for row in session.scalars(query)
    )


def _note(session: Session, request_id: str, change: RequestChange) -> None:
    session.add(
        RetrainingChangeRow(
            request_id=request_id,
            at=change.at,
            status=change.status.value,
            author=change.by,
            words=change.words,
        )
    )
    session.flush()


def _request(request_id: str, record: str | None) -> RetrainingRequest:
    if record is None:
        msg = f"no retraining request {request_id!r}; `kedge retrain list` shows those there are"
        raise UnknownRequestError(msg)
    return msgspec.json.decode(record, type=RetrainingRequest)
