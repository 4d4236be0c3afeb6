"""Acknowledging, resolving and reopening: by the data, with hysteresis, or by a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alerts import wording
from alerts.history import add_message, record
from alerts.plain import name, plain
from alerts.records import Change, Decision, Incident, IncidentState, MessageType, Reason
from alerts.settings import AlertSettings


class IncidentClosedError(ValueError):
    """Work on an incident that is over."""


class IncidentOpenError(ValueError):
    """Reopening an incident that is not closed."""


def note_margin(incident: Incident, *, inside: bool, now: datetime) -> Incident:
    """Remember since when the effect lies inside the practical margin without a break.

    The effect is the current window's against the reference, never detector state, which relearns.
    """
    if not inside:
        return replace(incident, recovering_since=None)
    return incident if incident.recovering_since else replace(incident, recovering_since=now)


def resolve_if_recovered(
    incident: Incident,
    *,
    inside_margin_since: datetime | None,
    now: datetime,
    settings: AlertSettings | None = None,
) -> Decision:
    """Close an incident whose effect has been inside the margin for `recovery` of event time."""
    settings = settings or AlertSettings()
    if not incident.is_open:
        return Decision(reasons=(Reason("already closed", "nothing to resolve", incident.id),))
    if inside_margin_since is None:
        return Decision(reasons=(Reason("not recovered", "outside the margin", incident.id),))
    inside_for = now - inside_margin_since
    if inside_for < settings.recovery:
        so_far, wanted = wording.length(inside_for), wording.length(settings.recovery)
        words = f"inside the margin for {so_far} of {wanted}"
        return Decision(reasons=(Reason("recovering", words, incident.id),))
    how = f"back inside the practical margin since {wording.moment(inside_margin_since)}"
    return _close(incident, by="", how=how, now=now, settings=settings)


def resolve_by_person(
    incident: Incident,
    *,
    by: str,
    now: datetime,
    note: str = "",
    settings: AlertSettings | None = None,
) -> Decision:
    """Close an incident because somebody says so; alarms that go on will reopen it."""
    _must_be_open(incident, "resolve")
    words = f": {plain(note)}" if note else ""
    how = f"closed by {name(by)}{words}"
    return _close(incident, by=by, how=how, now=now, settings=settings or AlertSettings())


def resolve_by_service(
    incident: Incident, *, how: str, now: datetime, settings: AlertSettings | None = None
) -> Decision:
    """Close what the service itself opened, because its cause is gone."""
    if not incident.is_open:
        return Decision(reasons=(Reason("already closed", "nothing to resolve", incident.id),))
    return _close(incident, by="", how=how, now=now, settings=settings or AlertSettings())


def acknowledge(
    incident: Incident,
    *,
    by: str,
    now: datetime,
    until: datetime | None = None,
    settings: AlertSettings | None = None,
) -> Decision:
    """Somebody has taken it: reminders stop, escalation does not. A second time changes nothing.

    Its channels are told, so that nobody else is woken for it. `until` (wall clock) lets the
    acknowledgement run out by itself; given again it moves the end.
    """
    _must_be_open(incident, "acknowledge")
    taken_already = incident.state is IncidentState.ACKNOWLEDGED
    if taken_already and until in {None, incident.snoozed_until}:
        words = f"already acknowledged by {name(incident.acknowledged_by)}"
        return Decision(reasons=(Reason("already acknowledged", words, incident.id),))
    ends = "" if until is None else f"until {wording.moment(until)} UTC"
    taken = replace(
        record(incident, Change(now, "acknowledged", by=name(by), words=ends)),
        state=IncidentState.ACKNOWLEDGED,
        acknowledged_at=now,
        acknowledged_by=name(by),
        snoozed_until=until,
    )
    told, message = add_message(
        taken,
        MessageType.ACKNOWLEDGED,
        now,
        settings or AlertSettings(),
        headline=wording.acknowledged(taken),
    )
    reason = Reason("acknowledged", f"acknowledged by {name(by)}", incident.id)
    return Decision((told,), (message,), reasons=(reason,))


def reopen_by_person(
    incident: Incident,
    *,
    by: str,
    now: datetime,
    note: str = "",
    settings: AlertSettings | None = None,
) -> Decision:
    """Open a closed incident again, under its old id, and tell people."""
    if incident.is_open:
        msg = (
            f"incident {incident.id} is {incident.state.value}; only a resolved one can be reopened"
        )
        raise IncidentOpenError(msg)
    words = f"reopened by {name(by)}" + (f": {plain(note)}" if note else "")
    back = replace(
        record(incident, Change(now, "reopened", by=name(by), words=plain(note))),
        state=IncidentState.OPEN,
        updated_at=max(incident.updated_at, now),
        closed_at=None,
        closed_by="",
        acknowledged_at=None,
        acknowledged_by="",
        recovering_since=None,
        notified_at=now,
        notified_peak=incident.peak,
    )
    told, message = add_message(back, MessageType.OPENED, now, settings or AlertSettings())
    return Decision((told,), (message,), reasons=(Reason("reopened", words, incident.id),))


def _close(
    incident: Incident, *, by: str, how: str, now: datetime, settings: AlertSettings
) -> Decision:
    headline = wording.resolved(incident, now, how)
    closed = replace(
        record(incident, Change(now, "resolved", by=name(by), words=how)),
        state=IncidentState.RESOLVED,
        closed_at=now,
        closed_by=name(by),
        updated_at=max(incident.updated_at, now),
        notified_at=now,
    )
    told, message = add_message(closed, MessageType.RESOLVED, now, settings, headline=headline)
    return Decision((told,), (message,), reasons=(Reason("resolved", how, incident.id),))


def _must_be_open(incident: Incident, wanted: str) -> None:
    if not incident.is_open:
        by = f" by {incident.closed_by}" if incident.closed_by else ""
        msg = f"cannot {wanted} incident {incident.id}: it was resolved{by} at {incident.closed_at}"
        raise IncidentClosedError(msg)
