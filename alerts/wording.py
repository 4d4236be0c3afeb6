"""What people read: a plain sentence that says where, what, since when, how much, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from alerts.plain import name, plain
from alerts.records import Incident
from detectors.records import Action, Deployment, Finding, Mode, Tier

HEADLINE_CHARACTERS = 300
SURE = 0.6
"""Below this confidence a diagnosis is told with its runner-up."""

CONSEQUENCES = ("loss", "transfer", "calibration")
"""Signals that are harm in themselves, where others are only movement."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def place(deployment: Deployment) -> str:
    """The deployment as "model/domain", safe to show; without a domain every one is meant."""
    if not deployment.domain:
        return name(deployment.model)
    return f"{name(deployment.model)}/{name(deployment.domain)}"


def moment(instant: datetime) -> str:
    """An instant as "12 Nov 06:00", in UTC and in English whatever the locale."""
    return f"{instant.day} {_MONTHS[instant.month - 1]} {instant:%H:%M}"


def length(span: timedelta) -> str:
    """A span as "4 d 3 h", "3 h" or "20 min"; what is below the smallest unit is cut."""
    minutes = max(0, int(span.total_seconds() // 60))
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h" if hours else f"{minutes} min"


def candidates(mode: Mode, runner_up: Mode | None, confidence: float) -> str:
    """The name of what is wrong; with the runner-up where the first is not sure."""
    if confidence >= SURE or runner_up is None or runner_up is mode or mode is Mode.UNDETERMINED:
        return mode.value
    return f"{mode.value} or {runner_up.value}"


def is_consequence(finding: Finding) -> bool:
    """Whether a finding is realised harm rather than movement."""
    return finding.stream.startswith(CONSEQUENCES)


def lead(findings: Sequence[Finding]) -> Finding:
    """The finding a headline is about: pages first, harm before movement, then the strongest."""
    return max(
        findings,
        key=lambda f: (
            f.tier is Tier.PAGE,
            is_consequence(f),
            f.evidence,
            abs(f.effect or 0.0),
            f.stream,
        ),
    )


def saw(finding: Finding) -> str:
    """What was seen: the detector's own words, or the stream, its direction and its effect."""
    if finding.detail:
        return plain(finding.detail)
    stream = name(finding.stream)
    if finding.effect is None:
        return stream
    return f"{stream} {'up' if finding.effect > 0 else 'down'} by {abs(finding.effect):.3g}"


def remedy(action: Action) -> str:
    """The one thing to do, and where."""
    kind = plain(action.kind)
    scope = plain(action.scope)
    return f"{kind} ({scope})" if scope else kind


def opened(
    deployment: Deployment,
    what: str,
    onset: datetime,
    seen: str,
    action: Action,
    *,
    was: Mode | None = None,
) -> str:
    """The headline of an open incident; `was` is the name it had before."""
    before = f" (was {was.value})" if was else ""
    sentence = (
        f"{place(deployment)}: {what}{before} since {moment(onset)} — {seen}; {remedy(action)}"
    )
    return plain(sentence, HEADLINE_CHARACTERS)


def resolved(incident: Incident, now: datetime, how: str) -> str:
    """The headline of a closed incident."""
    open_for = length(now - incident.opened_at)
    sentence = (
        f"{place(incident.deployment)}: {incident.what} resolved — {how}; open for {open_for}"
    )
    return plain(sentence, HEADLINE_CHARACTERS)


def acknowledged(incident: Incident) -> str:
    """The headline of an incident that somebody has taken."""
    sentence = (
        f"{place(incident.deployment)}: {incident.mode.value} since {moment(incident.onset)} — "
        f"taken by {name(incident.acknowledged_by)}"
    )
    return plain(sentence, HEADLINE_CHARACTERS)


def requested(deployment: Deployment, action: Action, because: str) -> str:
    """The headline of a retraining request."""
    ask = f"please {remedy(action)}, {plain(action.cadence)}"
    sentence = f"{place(deployment)}: {ask} — because of {because}"
    return plain(sentence, HEADLINE_CHARACTERS)
