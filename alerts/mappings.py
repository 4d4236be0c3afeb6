"""Mappings that people stand behind: versions, whose turn it is, and the message that asks.

A version is never changed but in its status. A new one replaces a proposal that still waits, and
once approved the version approved before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from alerts.bodies import fit, iso, links
from alerts.plain import name, plain
from alerts.records import Incident, Message, MessageType, Severity, message_id
from alerts.runbooks import runbook_link
from detectors.records import AppliedMapping, Deployment, MappingEntry, MappingProposal, Tier, to_us

SHOWN = 10


class MappingStatus(StrEnum):
    """Where a version of a mapping stands. Proposed waits for a person; the others are final."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class MappingVersion:
    """One version of what a feature or category of the source is in a domain.

    `since` is the event time from which the domain writes it so, None for always. `created_at`
    is event time where Kedge proposed it ("" as `created_by`), wall clock where a person did.
    """

    id: str
    deployment: Deployment
    entry: MappingEntry
    version: int
    created_at: datetime
    status: MappingStatus = MappingStatus.PROPOSED
    evidence: str = ""
    since: datetime | None = None
    created_by: str = ""
    incident_id: str = ""
    decided_at: datetime | None = None
    decided_by: str = ""
    reason: str = ""

    @property
    def words(self) -> str:
        return self.entry.words


def next_versions(
    deployment: Deployment,
    known: Iterable[MappingVersion],
    proposals: Sequence[MappingProposal],
    *,
    at: datetime,
    by: str = "",
    since: datetime | None = None,
    incident_id: str = "",
) -> tuple[MappingVersion, ...]:
    """The versions that proposals make: none where the newest version says the same already.

    So what was rejected is not proposed again, and what was approved needs no second look.
    """
    newest: dict[tuple[str, str], MappingVersion] = {}
    for version in sorted(known, key=lambda one: one.version):
        if version.deployment == deployment:
            newest[version.entry.key] = version
    made = []
    for proposal in proposals:
        key = proposal.entry.key
        last = newest.get(key)
        if last is not None and last.entry == proposal.entry:
            continue
        number = 1 if last is None else last.version + 1
        newest[key] = MappingVersion(
            id=mapping_id(deployment, proposal.entry, number),
            deployment=deployment,
            entry=proposal.entry,
            version=number,
            created_at=at,
            evidence=plain(proposal.evidence),
            since=since,
            created_by=name(by),
            incident_id=incident_id,
        )
        made.append(newest[key])
    return tuple(made)


def mapping_id(deployment: Deployment, entry: MappingEntry, version: int) -> str:
    """The id of a version: the same wherever the same history is evaluated."""
    parts = [deployment.model, deployment.domain, entry.column, entry.category, version]
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return f"map_{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def in_force(versions: Iterable[MappingVersion]) -> tuple[AppliedMapping, ...]:
    """What is approved, in a fixed order: what rows are read by and held to."""
    approved = [v for v in versions if v.status is MappingStatus.APPROVED]
    approved.sort(key=lambda v: v.entry.key)
    return tuple(
        AppliedMapping(v.id, v.entry, None if v.since is None else to_us(v.since)) for v in approved
    )


def waiting(versions: Iterable[MappingVersion]) -> tuple[MappingVersion, ...]:
    """What nobody has looked at yet: it holds the domain at "unverified"."""
    return tuple(v for v in versions if v.status is MappingStatus.PROPOSED)


def review_message(
    versions: Sequence[MappingVersion],
    incident: Incident | None,
    *,
    now: datetime,
    public_url: str,
) -> Message:
    """Asks for a look at new versions of one deployment: one message, each version in one only."""
    first = versions[0]
    cause = first.id if len(versions) == 1 else _digest(versions)
    deployment = first.deployment
    many = "" if len(versions) == 1 else f" and {len(versions) - 1} more"
    place = f"{name(deployment.model)}/{name(deployment.domain)}"
    severity = Severity.MEDIUM if incident is None else incident.severity
    tier = Tier.TICKET if incident is None else incident.tier
    address = links(deployment, "" if incident is None else incident.id, public_url)
    if incident is None:
        address.pop("incident")
    data: dict[str, Any] = {
        "id": cause,
        "model": name(deployment.model),
        "domain": name(deployment.domain),
        "headline": plain(f"{place}: please verify that {first.words}{many}"),
        "severity": severity.value,
        "incident": None if incident is None else incident.id,
        "diagnosis": None
        if incident is None
        else {"mode": incident.mode.value, "confidence": round(incident.confidence, 3)},
        "action": {
            "kind": "verify mapping by a human",
            "scope": "this domain",
            "cadence": "now",
            "falsified_by": "an approved mapping is monitored: a finding names it if it breaks",
            "retraining": False,
        },
        "evidence": [plain(v.evidence) for v in versions[:SHOWN] if v.evidence][:5],
        "mappings": [
            {"id": v.id, "version": v.version, "says": plain(v.words)} for v in versions[:SHOWN]
        ],
        "waiting": len(versions),
        "links": {
            "mapping": f"{public_url.rstrip('/')}/mappings/{first.id}",
            "runbook": runbook_link(MessageType.MAPPING_REVIEW_REQUESTED.value, public_url),
            **address,
        },
    }
    kind = MessageType.MAPPING_REVIEW_REQUESTED
    return Message(
        id=message_id(cause, kind, 1),
        type=kind,
        deployment=deployment,
        incident_id="" if incident is None else incident.id,
        tier=tier,
        severity=severity,
        body=fit({"type": kind.value, "timestamp": iso(now), "data": data}),
        created_at=now,
    )


def _digest(versions: Sequence[MappingVersion]) -> str:
    text = ",".join(sorted(version.id for version in versions))
    return f"maps_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
