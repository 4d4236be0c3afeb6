"""History replayed twice, as it was and with changes put in: false alarms and delay.

The two runs differ in nothing else, so an alarm that only the second has was caused by the change,
and an alarm of the first is false unless something real happened then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from alerts.records import Incident
from detectors.records import HOUR_US, AppliedMapping, Finding, Settings, Tier, to_datetime, to_us
from monitor.files.tables import Table
from monitor.replaying.injecting import Placed
from monitor.replaying.injection import Injection
from monitor.replaying.replay import DomainReplay, OnTick, Replay, replay, to_json
from monitor.reports.forms import finding_json, iso
from monitor.watching.alignment import NOTHING_KNOWN, VersionFacts

AS_IT_WAS, INJECTED = "as it was", "injected"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one injection in one domain.

    `false_pages` and `false_tickets` count the incidents of the history as it was, over `days` of
    it; `caused` are the alarms that only the changed history has, from the change on.
    """

    placed: Placed
    domain: str
    since_us: int
    days: float
    false_pages: int
    false_tickets: int
    caused: tuple[Finding, ...]
    incident: Incident | None

    @property
    def first(self) -> Finding | None:
        """The first alarm that reached somebody."""
        return next((f for f in self.caused if f.tier is not Tier.LOG), None)

    @property
    def first_page(self) -> Finding | None:
        return next((f for f in self.caused if f.tier is Tier.PAGE), None)

    def delay_hours(self, finding: Finding | None) -> float | None:
        """Event time from the change to an alarm."""
        return None if finding is None else (to_us(finding.ts) - self.since_us) / HOUR_US


@dataclass(frozen=True, slots=True, eq=False)
class InjectedReplay:
    """Both runs and what came of every injection."""

    clean: Replay
    changed: Replay
    outcomes: tuple[Outcome, ...]


def injected_replay(
    reference: Table,
    log: Table,
    settings: Settings,
    injections: Sequence[Injection],
    *,
    model: str = "model",
    on_tick: OnTick | None = None,
    mappings: Mapping[str, Sequence[AppliedMapping]] = MappingProxyType({}),
    versions: VersionFacts = NOTHING_KNOWN,
) -> InjectedReplay:
    """Replay a log as it was and with the injections put in.

    `on_tick` is told of "north, as it was" and "north, injected".

    Raises:
        InputError: where the log cannot be replayed, or an injection does not fit it.
    """

    def told(run: str) -> OnTick | None:
        if on_tick is None:
            return None
        return lambda domain, done, total: on_tick(f"{domain}, {run}", done, total)

    # The changed log first: an injection that does not fit is refused before minutes of work.
    changed = replay(
        reference,
        log,
        settings,
        model=model,
        on_tick=told(INJECTED),
        injections=injections,
        mappings=mappings,
        versions=versions,
    )
    clean = replay(
        reference,
        log,
        settings,
        model=model,
        on_tick=told(AS_IT_WAS),
        mappings=mappings,
        versions=versions,
    )
    return InjectedReplay(clean, changed, outcomes_of(clean, changed))


def outcomes_of(clean: Replay, changed: Replay) -> tuple[Outcome, ...]:
    """Every injection in every domain it touched, in the order they were asked for."""
    before = {domain.deployment.domain: domain for domain in clean.domains}
    found = []
    for place in changed.placed:
        for domain in changed.domains:
            name = domain.deployment.domain
            if place.rows.get(name):
                found.append(_outcome(place, before[name], domain, changed))
    return tuple(found)


def _outcome(place: Placed, clean: DomainReplay, changed: DomainReplay, result: Replay) -> Outcome:
    name = changed.deployment.domain
    since_us = _start(place, changed, result.settings)
    usual = {_key(finding) for finding in clean.findings}
    new = [f for f in changed.findings if _key(f) not in usual and to_us(f.ts) > since_us]
    mine = _own(place, new, since_us, changed, result)
    return Outcome(
        placed=place,
        domain=name,
        since_us=since_us,
        days=clean.days,
        false_pages=sum(incident.tier is Tier.PAGE for incident in clean.incidents),
        false_tickets=sum(incident.tier is Tier.TICKET for incident in clean.incidents),
        caused=tuple(mine),
        incident=_incident(mine, clean, changed),
    )


def _key(finding: Finding) -> tuple[str, int, str]:
    return finding.stream, to_us(finding.ts), finding.kind


def _start(place: Placed, domain: DomainReplay, settings: Settings) -> int:
    """When the change began, in the domain's own (pseudo) event time."""
    if settings.tick_rows is not None or place.since_us is None:
        ticks = place.first_row[domain.deployment.domain] // (settings.tick_rows or 1)
        return domain.since_us + ticks * HOUR_US
    return place.since_us


def _own(
    place: Placed,
    new: Sequence[Finding],
    since_us: int,
    domain: DomainReplay,
    result: Replay,
) -> list[Finding]:
    """The alarms that are this injection's where several were put in.

    An alarm on another injection's column is that one's; any other belongs to the latest change
    before it.
    """
    name = domain.deployment.domain
    others = [
        (other.injection.column, _start(other, domain, result.settings))
        for other in result.placed
        if other is not place and other.rows.get(name)
    ]
    column = place.injection.column
    own = []
    for finding in new:
        if finding.column and finding.column != column and finding.column in dict(others):
            continue
        later = any(since_us < start < to_us(finding.ts) for _, start in others)
        if finding.column == column or not later:
            own.append(finding)
    return own


def _incident(
    caused: Sequence[Finding], clean: DomainReplay, changed: DomainReplay
) -> Incident | None:
    """The incident the change opened, or the old one that it made worse; paging ones first."""
    streams = {finding.stream for finding in caused}
    usual = {incident.id: (incident.tier, incident.mode) for incident in clean.incidents}
    touched = [
        incident
        for incident in changed.incidents
        if streams & set(incident.streams)
        and usual.get(incident.id) != (incident.tier, incident.mode)
    ]
    ranked = sorted(touched, key=lambda i: (i.tier is not Tier.PAGE, i.opened_at))
    return ranked[0] if ranked else None


def injected_json(result: InjectedReplay) -> dict[str, Any]:
    """The `kedge.replay/1` object of the changed history, with `injections[…]`."""
    by_rows = result.changed.settings.tick_rows is not None
    return {
        **to_json(result.changed),
        "injections": [outcome_json(outcome, by_rows=by_rows) for outcome in result.outcomes],
    }


def outcome_json(outcome: Outcome, *, by_rows: bool = False) -> dict[str, Any]:
    """One injection in one domain; delays are null where ticks are row counts."""
    place, injection = outcome.placed, outcome.placed.injection

    def alarm(finding: Finding | None) -> dict[str, Any] | None:
        if finding is None:
            return None
        shown = finding_json(finding)
        delay = outcome.delay_hours(finding)
        if by_rows:
            shown["ts"] = shown["onset"] = None
            return {**shown, "delay_hours": None, "delay_ticks": delay}
        return {**shown, "delay_hours": None if delay is None else round(delay, 4)}

    incident = outcome.incident
    return {
        "spec": injection.spec,
        "column": injection.column,
        "kind": injection.kind,
        "size": injection.size,
        "domain": outcome.domain,
        "at": None if by_rows else iso(to_datetime(outcome.since_us)),
        "until": None if by_rows or place.until_us is None else iso(to_datetime(place.until_us)),
        "rows": place.rows[outcome.domain],
        "first_row": place.first_row[outcome.domain],
        "as_it_was": {
            "days": None if by_rows else round(outcome.days, 3),
            "pages": outcome.false_pages,
            "tickets": outcome.false_tickets,
        },
        "detected": outcome.first is not None,
        "first": alarm(outcome.first),
        "first_page": alarm(outcome.first_page),
        "alarms": len(outcome.caused),
        "incident": None
        if incident is None
        else {
            "mode": incident.mode.value,
            "tier": incident.tier.value,
            "opened_at": None if by_rows else iso(incident.opened_at),
            "confidence": incident.confidence,
            "runner_up": None if incident.runner_up is None else incident.runner_up.value,
            "action": incident.action.kind,
            "headline": incident.headline,
        },
    }
