"""Several domains of one model ill at once with one cause: one incident for people, one page.

The members keep their own incidents and histories, as a replay makes them; while their group is
open it alone speaks for them. An incident of the fleet as a whole, whose domain is "", is told with
those of the domains that saw the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerts.history import add_message, record
from alerts.plain import name, plain
from alerts.records import (
    Change,
    Incident,
    IncidentKind,
    IncidentState,
    Message,
    MessageType,
    group_id,
)
from alerts.settings import AlertSettings
from alerts.wording import HEADLINE_CHARACTERS, moment, remedy
from detectors.records import Deployment, Mode, Tier

ONSET_APART = timedelta(days=1)
"""Onsets are estimates; a tick may be a day."""

WEARING_APART = timedelta(days=28)
"""A benefit that wears off is noticed in each domain as its labels allow, within a month."""

FLEET_APART = timedelta(days=3)
"""The median of a fleet is followed by the day, and its onset is an estimate too."""

OF_ITS_OWN = "~peers"
"""A stream that differs from its peers: whatever the fleet does, this is the domain's own."""

NAMED = 5
"""How many domains a headline names; the body names all."""

_RANK = {Tier.LOG: 0, Tier.TICKET: 1, Tier.PAGE: 2}


@dataclass(frozen=True, slots=True)
class Grouped:
    """A group as it should be, the members that are new to it, and what to tell, if anything."""

    group: Incident
    joined: tuple[Incident, ...]
    message: Message | None


def one_cause(a: Incident, b: Incident) -> bool:
    """Whether two incidents look like one change at the source that reached two domains.

    The same named mode, beginning within a day (negative transfer: 28), in columns of which they
    share half; a loss that rose names no columns, and then both must name none. What has no name
    yet may be anything.
    """
    if a.deployment.model != b.deployment.model or a.deployment == b.deployment:
        return False
    if a.kind is not IncidentKind.DRIFT or b.kind is not IncidentKind.DRIFT:
        return False
    if not (a.deployment.domain and b.deployment.domain):
        return _of_the_fleet(*((b, a) if b.deployment.domain == "" else (a, b)))
    if a.mode is not b.mode or a.mode in {Mode.UNDETERMINED, Mode.NONE, Mode.BENIGN}:
        return False
    apart = WEARING_APART if a.mode is Mode.NEGATIVE_TRANSFER else ONSET_APART
    if abs(a.onset - b.onset) > apart:
        return False
    shared, either = set(a.columns) & set(b.columns), set(a.columns) | set(b.columns)
    return 2 * len(shared) >= len(either)


def _of_the_fleet(fleet: Incident, other: Incident) -> bool:
    """Whether a domain's incident is what the median of all domains shows, whatever its name.

    They share a column, or both name none, and begin within three days. A domain that differs from
    its peers is ill by itself and speaks for itself.
    """
    if any(stream.endswith(OF_ITS_OWN) for stream in other.streams):
        return False
    if abs(fleet.onset - other.onset) > FLEET_APART:
        return False
    return bool(set(fleet.columns) & set(other.columns)) or not (fleet.columns or other.columns)


def regroup(
    incidents: Sequence[Incident],
    groups: Sequence[tuple[Incident, tuple[str, ...]]],
    *,
    now: datetime,
    settings: AlertSettings,
) -> tuple[Grouped, ...]:
    """Which groups to make or to widen, given a model's open incidents and its open groups.

    `groups` come with the ids of their members, among which those that are over may be. An
    incident is a member of one group at most. The same arguments give the same groups and ids.
    """
    taken = {member for _, members in groups for member in members}
    free = sorted(
        (i for i in incidents if i.is_open and i.id not in taken and i.kind is IncidentKind.DRIFT),
        key=lambda i: (i.opened_at, i.id),
    )
    by_id = {incident.id: incident for incident in incidents}
    done: list[Grouped] = []
    for group, members in sorted(groups, key=lambda pair: pair[0].id):
        old = [by_id[member] for member in members if member in by_id]
        joined: list[Incident] = []
        for incident in free:
            if any(one_cause(incident, other) for other in (*old, *joined)):
                joined.append(incident)
        free = [incident for incident in free if incident not in joined]
        widened = _widen(group, [*old, *joined], joined, now, settings)
        if widened is not None:
            done.append(widened)
    while free:
        first, *rest = free
        alike = [first]
        for incident in rest:
            if any(one_cause(incident, other) for other in alike):
                alike.append(incident)
        free = [incident for incident in rest if incident not in alike]
        if len({incident.deployment.domain for incident in alike}) >= 2:
            done.append(_make(alike, now, settings))
    return tuple(done)


def _make(members: Sequence[Incident], now: datetime, settings: AlertSettings) -> Grouped:
    worst = max(members, key=lambda i: (_RANK[i.tier], i.severity.rank, i.peak, i.id))
    domains = _domains(members)
    opened_at = max(incident.opened_at for incident in members)
    group = replace(
        worst,
        id=group_id(worst.deployment.model, sorted(incident.id for incident in members)),
        deployment=Deployment(worst.deployment.model, ""),
        state=IncidentState.OPEN,
        opened_at=opened_at,
        updated_at=opened_at,
        onset=min(incident.onset for incident in members),
        acknowledged_at=None,
        acknowledged_by="",
        snoozed_until=None,
        recovering_since=None,
        verdict="",
        verdict_by="",
        sequence=0,
        told=(worst.mode,),
        history=(),
        kind=IncidentKind.GROUP,
        domains=domains,
        alarms=sum(incident.alarms for incident in members),
    )
    group = replace(group, headline=_headline(group, worst))
    words = f"{_count(domains)} at once: {', '.join(map(name, domains))}"
    group = record(group, Change(opened_at, "opened", words=plain(words, 1_000)))
    group, message = add_message(group, MessageType.OPENED, now, settings)
    return Grouped(group, tuple(members), message)


def _widen(
    group: Incident,
    members: Sequence[Incident],
    joined: Sequence[Incident],
    now: datetime,
    settings: AlertSettings,
) -> Grouped | None:
    """The group with its newcomers; told when it is worse, or has twice the domains last told."""
    if not members:
        return None
    worst = max(members, key=lambda i: (_RANK[i.tier], i.severity.rank, i.peak, i.id))
    tier = max(group.tier, worst.tier, key=_RANK.__getitem__)
    severity = max(group.severity, worst.severity, key=lambda s: s.rank)
    domains = tuple(dict.fromkeys((*group.domains, *_domains(joined))))
    worse = tier is not group.tier or severity is not group.severity
    if not joined and not worse:
        return None
    at = max([group.updated_at, *(incident.updated_at for incident in members)])
    wider = replace(
        group,
        tier=tier,
        severity=severity,
        domains=domains,
        updated_at=at,
        onset=min([group.onset, *(incident.onset for incident in joined)]),
        alarms=group.alarms + sum(incident.alarms for incident in joined),
    )
    wider = replace(wider, headline=_headline(wider, worst))
    words = f"now {len(domains)} domains"
    if joined:
        words = f"{words}, with {', '.join(map(name, _domains(joined)))}"
    wider = record(wider, Change(at, "worse" if worse else "joined", words=plain(words, 1_000)))
    # The peak of a group counts the domains its last message named.
    if not worse and len(domains) < 2 * _told_domains(group):
        return Grouped(wider, tuple(joined), None)
    if worse and group.state is IncidentState.ACKNOWLEDGED and tier is not group.tier:
        wider = replace(wider, state=IncidentState.OPEN, acknowledged_at=None, acknowledged_by="")
    wider, message = add_message(wider, MessageType.UPDATED, now, settings)
    wider = record(wider, Change(at, "told", words=f"{len(domains)} domains"))
    return Grouped(wider, tuple(joined), message)


def _told_domains(group: Incident) -> int:
    """How many domains the last message of a group named, as its history has it."""
    for change in reversed(group.history):
        if change.what in {"opened", "told"}:
            return int(change.words.split(" ", 1)[0])
    return len(group.domains)


def _domains(incidents: Iterable[Incident]) -> tuple[str, ...]:
    return tuple(sorted({incident.deployment.domain for incident in incidents} - {""}))


def _count(domains: Sequence[str]) -> str:
    return f"{len(domains)} domain{'' if len(domains) == 1 else 's'}"


def _headline(group: Incident, worst: Incident) -> str:
    shown = ", ".join(map(name, group.domains[:NAMED]))
    more = len(group.domains) - NAMED
    where = f"{shown} and {more} more" if more > 0 else shown
    wears_off = group.mode is Mode.NEGATIVE_TRANSFER
    suspicion = " (shared embeddings may be stale)" if wears_off else ""
    columns = f" in {', '.join(map(name, group.columns[:3]))}" if group.columns else ""
    sentence = (
        f"{name(group.deployment.model)}: {group.mode.value}{columns} in "
        f"{_count(group.domains)} at once ({where}) since {moment(group.onset)}; look at the "
        f"source they share first{suspicion}, then {remedy(worst.action)}"
    )
    return plain(sentence, HEADLINE_CHARACTERS)
