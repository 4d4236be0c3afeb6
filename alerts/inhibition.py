"""A fault of the data inhibits the drift it causes: one page for the cause, none for its echoes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from alerts.records import Incident, IncidentKind
from detectors.records import Mode, Tier

FAULTS = frozenset({Mode.PIPELINE_FAULT, Mode.SCHEMA_MISMATCH, Mode.FEATURE_ABSENT})
"""Modes that say the rows themselves are wrong; whatever is measured on them follows."""

OVERLAP = timedelta(days=1)
"""Onsets are estimates: an echo may seem to begin this long before its cause."""

_RANK = {Tier.LOG: 0, Tier.TICKET: 1, Tier.PAGE: 2}


def inhibited_by(incident: Incident, others: Iterable[Incident]) -> Incident | None:
    """The open fault of the same deployment that explains an incident, or None.

    A ticket inhibits no page: somebody must be awake for the cause before its echo is hushed.
    Faults do not inhibit each other, and what began before the fault is not its echo.
    """
    causes = [
        other
        for other in others
        if other.is_open
        and other.id != incident.id
        and other.deployment == incident.deployment
        and _explains(other, incident)
        and _RANK[other.tier] >= _RANK[incident.tier]
        and incident.onset >= other.onset - OVERLAP
    ]
    return min(causes, key=lambda i: (i.onset, i.id), default=None)


def _explains(cause: Incident, echo: Incident) -> bool:
    if echo.kind in {IncidentKind.NO_LABELS, IncidentKind.TOO_LITTLE_DATA}:
        return cause.kind is IncidentKind.SOURCE_QUIET
    drift = cause.kind is IncidentKind.DRIFT and echo.kind is IncidentKind.DRIFT
    return drift and cause.mode in FAULTS and echo.mode not in FAULTS
