"""From what was seen to what is told: a pure decision that gives its reasons.

The rules, all in event time (`now` is the tick watermark, never the wall clock):

- An alarm of a stream that an open incident names, or of a slice of it, is of that incident:
  evidence starts anew after every alarm, so its onset says nothing of a new change. A tick's other
  alarms are taken together. They join an open incident that began at most `same_change` before
  them: of their mode, or one whose time they overlap. Failing that they reopen an incident of their
  mode closed less than `reopen_within` ago, or one closed after their onset. Only then do they open
  a new one.
- The alarms of a tick that are of one incident are one sighting with one mode, and a sighting is
  one message at most.
- A sighting renames its incident where it is of the same change, so begins at most `same_change`
  after it, or raises its tier: a better name is no second page. What begins later is told beside
  the name, once a mode. Only a named mode renames; "undetermined" replaces no name but that of a
  benign drift which now pages.
- An open incident speaks again when its tier or severity rises, when it takes a name that was not
  told before or another is told beside it, and, unless somebody has acknowledged it, when evidence
  has grown `worse_factor` fold (at most every `worse_wait`) or alarms still come `reminder` after
  the last message (`ticket_reminder` for a ticket).
- The log tier never speaks. Benign drift files a ticket at most: it is movement without harm.
- A retraining request needs a page, a confident diagnosis and sound data; one is open at most per
  deployment and kind of action, and the next waits for `cooldown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alerts import wording
from alerts.bodies import EVIDENCE
from alerts.history import add_message, record
from alerts.records import (
    Change,
    Decision,
    Incident,
    IncidentState,
    MessageType,
    Reason,
    RetrainingRequest,
    Severity,
    incident_id,
)
from alerts.retraining import ask
from alerts.settings import AlertSettings
from detectors.records import Action, Deployment, Diagnosis, Finding, Mode, Tier

KEPT_STREAMS = 50
SEEN_BY_DAY = "~slow"

_TIER_RANK = {Tier.LOG: 0, Tier.TICKET: 1, Tier.PAGE: 2}
_MINOR = frozenset({Mode.BENIGN, Mode.COVARIATE_SHIFT, Mode.UNDETERMINED})
_CRITICAL_EVIDENCE = 10.0
_INVESTIGATE = Action("investigate", "this domain", "now", "a later check names the cause")


def decide(
    deployment: Deployment,
    *,
    findings: Sequence[Finding],
    diagnosis: Diagnosis | None,
    open_incidents: Sequence[Incident],
    now: datetime,
    settings: AlertSettings | None = None,
    closed_incidents: Sequence[Incident] = (),
    requests: Sequence[RetrainingRequest] = (),
    rows: int | None = None,
) -> Decision:
    """Decide what a tick's findings mean for a deployment's incidents and for people.

    `closed_incidents` need reach back only `reopen_within`, `requests` only `cooldown` (and all
    open ones). `rows` is how many rows lie between onset and `now`, for a retraining request.
    The same arguments give the same decision, ids included.
    """
    settings = settings or AlertSettings()
    telling = [finding for finding in findings if finding.tier is not Tier.LOG]
    if not telling:
        words = "no alarms" if not findings else f"{len(findings)} findings, all of the log tier"
        return Decision(reasons=(Reason("nothing to tell", words),))
    ours = [i for i in open_incidents if i.deployment == deployment and i.is_open]
    theirs = [i for i in closed_incidents if i.deployment == deployment and not i.is_open]
    told = Decision()
    for joined, mine in _shared_out(deployment, telling, diagnosis, ours, settings):
        sighting = _sighting(deployment, mine, diagnosis)
        if joined is not None:
            decision = _join(joined, sighting, now, settings)
        elif (again := _closed_for(sighting, theirs, now, settings)) is not None:
            decision = _reopen(again, sighting, now, settings)
        else:
            decision = _open(sighting, now, settings)
        (incident,) = decision.incidents
        ours = [i for i in ours if i.id != incident.id]
        known = (*requests, *told.retraining)
        asked = ask(incident, ours, known, now=now, settings=settings, rows=rows)
        ours.append(incident)
        told = Decision(
            told.incidents + decision.incidents,
            told.messages + decision.messages + asked.messages,
            told.retraining + asked.retraining,
            told.reasons + decision.reasons + asked.reasons,
        )
    return told


def _shared_out(
    deployment: Deployment,
    findings: Sequence[Finding],
    diagnosis: Diagnosis | None,
    incidents: Sequence[Incident],
    settings: AlertSettings,
) -> list[tuple[Incident | None, list[Finding]]]:
    """Findings by the open incident they are of, those that no incident names first."""
    naming = [_weightiest(i for i in incidents if _names(i, f.stream)) for f in findings]
    new = [f for f, incident in zip(findings, naming, strict=True) if incident is None]
    joined = _open_for(_sighting(deployment, new, diagnosis), incidents, settings) if new else None
    homes = [joined if incident is None else incident for incident in naming]
    order = [joined, *homes] if new else homes
    return [
        (home, [f for f, at in zip(findings, homes, strict=True) if at is home])
        for home in {None if home is None else home.id: home for home in order}.values()
    ]


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A tick's alarms, taken together."""

    deployment: Deployment
    mode: Mode
    tier: Tier
    severity: Severity
    seen_at: datetime
    onset: datetime
    seen: str
    action: Action
    confidence: float
    runner_up: Mode | None
    evidence: tuple[str, ...]
    columns: tuple[str, ...]
    streams: tuple[str, ...]
    alarms: int
    peak: float

    def headline(
        self,
        *,
        mode: Mode,
        onset: datetime,
        was: Mode | None = None,
        beside: Mode | None = None,
    ) -> str:
        what = mode.value
        if mode is self.mode:
            what = wording.candidates(mode, self.runner_up, self.confidence)
        if beside is not None:
            what = f"{beside.value} and, later, {what}"
        return wording.opened(self.deployment, what, onset, self.seen, self.action, was=was)


def _sighting(
    deployment: Deployment, findings: Sequence[Finding], diagnosis: Diagnosis | None
) -> _Sighting:
    # An alarm is a fact: a diagnosis that found no problem has not explained it away.
    named = diagnosis is not None and diagnosis.mode not in {Mode.NONE, Mode.UNDETERMINED}
    mode = diagnosis.mode if diagnosis is not None and named else Mode.UNDETERMINED
    tier = max((finding.tier for finding in findings), key=_TIER_RANK.__getitem__)
    # What only moved, perhaps weeks before, is not when the weightier change began.
    onset = min(finding.onset for finding in findings if finding.tier is tier)
    if mode is Mode.BENIGN:
        tier = Tier.TICKET
    lead = wording.lead(findings)
    sentences = diagnosis.evidence if diagnosis is not None else ()
    return _Sighting(
        deployment=deployment,
        mode=mode,
        tier=tier,
        severity=_severity(mode, tier, findings),
        seen_at=max(finding.ts for finding in findings),
        onset=onset,
        seen=wording.saw(lead),
        action=diagnosis.action if diagnosis is not None and named else _INVESTIGATE,
        confidence=diagnosis.confidence if diagnosis is not None else 0.0,
        runner_up=diagnosis.runner_up if diagnosis is not None else None,
        evidence=(sentences or tuple(map(wording.saw, findings)))[:EVIDENCE],
        columns=_union(
            diagnosis.columns if diagnosis is not None else (),
            (finding.column for finding in findings if finding.column),
        ),
        streams=_union((), (finding.stream for finding in findings)),
        alarms=len(findings),
        peak=max(finding.evidence for finding in findings),
    )


def _severity(mode: Mode, tier: Tier, findings: Iterable[Finding]) -> Severity:
    """Tickets are low or medium, pages high, and critical if evidence of harm is overwhelming."""
    if tier is Tier.TICKET:
        return Severity.LOW if mode in _MINOR else Severity.MEDIUM
    harm = (f for f in findings if f.tier is Tier.PAGE and wording.is_consequence(f))
    overwhelming = any(finding.evidence >= _CRITICAL_EVIDENCE for finding in harm)
    return Severity.CRITICAL if overwhelming else Severity.HIGH


def _names(incident: Incident, stream: str) -> bool:
    """Whether a stream is one of an incident's, a slice of one, or one that is seen by the day."""
    plain = stream.removesuffix(SEEN_BY_DAY)
    known = (one.removesuffix(SEEN_BY_DAY) for one in incident.streams)
    return any(plain == one or plain.startswith(f"{one}@") for one in known)


def _open_for(
    sighting: _Sighting, incidents: Sequence[Incident], settings: AlertSettings
) -> Incident | None:
    """The open incident that alarms of other streams belong to: of their mode, else of their time.

    None where all began long before: what is wrong now is something else, whatever is still wrong.
    """
    recent = [i for i in incidents if _same_change(i, sighting, settings)]
    same = (i for i in recent if i.mode is sighting.mode)
    overlapping = (i for i in recent if sighting.onset <= i.updated_at + settings.overlap)
    return _weightiest(same) or _weightiest(overlapping)


def _same_change(incident: Incident, sighting: _Sighting, settings: AlertSettings) -> bool:
    return sighting.onset <= incident.onset + settings.same_change


def _weightiest(incidents: Iterable[Incident]) -> Incident | None:
    return max(incidents, key=lambda i: (_TIER_RANK[i.tier], i.updated_at, i.id), default=None)


def _closed_for(
    sighting: _Sighting, incidents: Sequence[Incident], now: datetime, settings: AlertSettings
) -> Incident | None:
    """The closed incident that these alarms continue."""
    continued = [
        i
        for i in incidents
        if i.mode is sighting.mode
        and i.closed_at is not None
        and (now - i.closed_at <= settings.reopen_within or sighting.onset <= i.closed_at)
    ]
    return max(continued, key=lambda i: (i.updated_at, i.id), default=None)


def _open(sighting: _Sighting, now: datetime, settings: AlertSettings) -> Decision:
    incident = Incident(
        id=incident_id(sighting.deployment, sighting.mode, sighting.seen_at),
        deployment=sighting.deployment,
        mode=sighting.mode,
        state=IncidentState.OPEN,
        severity=sighting.severity,
        tier=sighting.tier,
        headline=sighting.headline(mode=sighting.mode, onset=sighting.onset),
        opened_at=sighting.seen_at,
        updated_at=sighting.seen_at,
        onset=sighting.onset,
        action=sighting.action,
        confidence=sighting.confidence,
        runner_up=sighting.runner_up,
        evidence=sighting.evidence,
        columns=sighting.columns,
        streams=sighting.streams,
        alarms=sighting.alarms,
        peak=sighting.peak,
    )
    return _tell(incident, MessageType.OPENED, "opened", incident.headline, now, settings)


def _join(
    incident: Incident, sighting: _Sighting, now: datetime, settings: AlertSettings
) -> Decision:
    merged = _merge(incident, sighting, settings)
    beside = _beside(merged, sighting)
    if beside:
        kept = merged.evidence[: EVIDENCE - 1]
        merged = replace(merged, evidence=(*kept, *beside), told=(*merged.told, sighting.mode))
    news = _news(incident, merged, now, settings, beside=beside)
    if news:
        code = news[0][0]
        if code == "escalated":
            # What was acknowledged was the ticket; nobody has answered the page yet.
            merged = replace(
                merged, state=IncidentState.OPEN, acknowledged_at=None, acknowledged_by=""
            )
        words = "; ".join(sentence for _, sentence in news)
        headline = sighting.headline(mode=sighting.mode, onset=sighting.onset, beside=merged.mode)
        return _tell(
            merged,
            MessageType.UPDATED,
            code,
            words,
            now,
            settings,
            headline=headline if beside else "",
        )
    if merged.mode is not incident.mode:
        words = f"was {incident.mode.value}, now {merged.mode.value}"
        merged = record(merged, Change(now, "renamed", words=words))
    who = f", acknowledged by {incident.acknowledged_by}" if incident.acknowledged_by else ""
    words = f"{sighting.alarms} more alarms joined an incident already told{who}"
    return Decision((merged,), reasons=(Reason("joined quietly", words, incident.id),))


def _beside(incident: Incident, sighting: _Sighting) -> tuple[str, ...]:
    """What alarms that began long after an incident look like besides its name, once a mode."""
    known = {Mode.UNDETERMINED, Mode.BENIGN, incident.mode, *incident.told}
    if sighting.mode in known:
        return ()
    named = wording.candidates(sighting.mode, sighting.runner_up, sighting.confidence)
    seen = sighting.evidence[0] if sighting.evidence else sighting.seen
    return (f"since {wording.moment(sighting.onset)} also {named}: {seen}",)


def _news(
    before: Incident,
    after: Incident,
    now: datetime,
    settings: AlertSettings,
    *,
    beside: tuple[str, ...] = (),
) -> list[tuple[str, str]]:
    """What is worth another message, as (code, words), the weightiest first."""
    news: list[tuple[str, str]] = []
    if after.tier is not before.tier:
        news.append(("escalated", f"was a {before.tier.value}, now a {after.tier.value}"))
    if after.severity is not before.severity:
        words = f"severity was {before.severity.value}, now {after.severity.value}"
        news.append(("worse", words))
    if after.mode not in before.told:
        news.append(("renamed", f"was {before.mode.value}, now {after.mode.value}"))
    news += [("also", sentence) for sentence in beside]
    if news or before.state is IncidentState.ACKNOWLEDGED:
        return news
    since_told = now - (before.notified_at or before.opened_at)
    if since_told >= settings.worse_wait and (
        0.0 < before.notified_peak * settings.worse_factor <= after.peak
    ):
        words = f"evidence was {before.notified_peak:.3g} times the threshold, now {after.peak:.3g}"
        news.append(("worse", words))
    elif since_told >= (settings.reminder if after.tier is Tier.PAGE else settings.ticket_reminder):
        words = f"alarms still come, {wording.length(since_told)} after the last message"
        news.append(("reminder", words))
    return news


def _reopen(
    incident: Incident, sighting: _Sighting, now: datetime, settings: AlertSettings
) -> Decision:
    back = replace(
        _merge(incident, sighting, settings),
        state=IncidentState.OPEN,
        tier=sighting.tier,
        severity=sighting.severity,
        closed_at=None,
        closed_by="",
        acknowledged_at=None,
        acknowledged_by="",
    )
    by = f" by {incident.closed_by}" if incident.closed_by else ""
    words = f"closed{by}, but the alarms came back"
    return _tell(back, MessageType.OPENED, "reopened", words, now, settings)


def _merge(incident: Incident, sighting: _Sighting, settings: AlertSettings) -> Incident:
    """The incident with a sighting's facts in it; nobody is told yet."""
    contradicted = incident.mode is Mode.BENIGN and sighting.tier is Tier.PAGE
    named = sighting.mode is not Mode.UNDETERMINED or contradicted
    heavier = _TIER_RANK[sighting.tier] - _TIER_RANK[incident.tier]
    nameless = incident.mode is Mode.UNDETERMINED
    better = nameless or heavier > 0 or _same_change(incident, sighting, settings)
    rename = sighting.mode is not incident.mode and named and better
    mode = sighting.mode if rename else incident.mode
    earlier = min(incident.onset, sighting.onset)
    onset = sighting.onset if heavier > 0 else earlier if heavier == 0 else incident.onset
    was = incident.mode if rename else None
    merged = replace(
        incident,
        mode=mode,
        tier=max(incident.tier, sighting.tier, key=_TIER_RANK.__getitem__),
        severity=max(incident.severity, sighting.severity, key=lambda s: s.rank),
        updated_at=max(incident.updated_at, sighting.seen_at),
        onset=onset,
        columns=_union(incident.columns, sighting.columns),
        streams=_union(incident.streams, sighting.streams),
        alarms=incident.alarms + sighting.alarms,
        peak=max(incident.peak, sighting.peak),
        recovering_since=None,
    )
    # A ticket that joins a page under the same name does not rewrite what the page said.
    weightier = rename or heavier >= 0
    if sighting.mode is mode and weightier:
        merged = replace(
            merged,
            headline=sighting.headline(mode=mode, onset=onset, was=was),
            action=sighting.action,
            confidence=sighting.confidence,
            runner_up=sighting.runner_up,
            evidence=sighting.evidence,
        )
    return merged


def _tell(
    incident: Incident,
    kind: MessageType,
    code: str,
    words: str,
    now: datetime,
    settings: AlertSettings,
    *,
    headline: str = "",
) -> Decision:
    """Write the message of a transition, and a mapping review the first time that is the remedy."""
    first_told = incident.mode not in incident.told
    incident = replace(
        record(incident, Change(now, code, words=words)),
        told=(*incident.told, incident.mode) if first_told else incident.told,
        notified_at=now,
        notified_peak=incident.peak,
    )
    incident, message = add_message(incident, kind, now, settings, headline=headline)
    messages = [message]
    if first_told and incident.mode is Mode.SCHEMA_MISMATCH:
        incident, review = add_message(
            incident, MessageType.MAPPING_REVIEW_REQUESTED, now, settings
        )
        messages.append(review)
    return Decision((incident,), tuple(messages), reasons=(Reason(code, words, incident.id),))


def _union(old: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*old, *new)))[:KEPT_STREAMS]
