"""Whether rows and labels still come: states of their own, apart from what the rows say.

No evidence reads these and no replay makes them: they are about the service, on the wall clock
where rows arrive and on event time where labels and counts are judged. A daemon that was down has
seen nothing, and says nothing about that time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from alerts.closing import resolve_by_service
from alerts.history import add_message, record
from alerts.plain import plain
from alerts.records import (
    Change,
    Decision,
    Incident,
    IncidentKind,
    IncidentState,
    MessageType,
    Reason,
    Severity,
    service_incident_id,
)
from alerts.settings import AlertSettings
from alerts.wording import length, moment, place
from detectors.records import Action, Deployment, Mode, Tier

KEPT_DAYS = 28
LEARNING_DAYS = 7
"""A week holds a weekend: before that a pause may be the usual one."""

SHORTEST = timedelta(hours=1)
LONGEST = timedelta(days=14)
MARGIN = 2
"""How many times its longest pause so far a source may be silent."""

SETTLING = timedelta(hours=1)
"""How long a daemon must be up before missing labels are not those it has missed itself."""

FEW_DAYS = 7
ENOUGH_AGAIN = 1.25

_TYPE = {
    IncidentKind.SOURCE_QUIET: MessageType.SOURCE_QUIET,
    IncidentKind.NO_LABELS: MessageType.LABELS_MISSING,
    IncidentKind.TOO_LITTLE_DATA: MessageType.TOO_LITTLE_DATA,
}
_ACTION = {
    IncidentKind.SOURCE_QUIET: Action(
        "look at the source", "what sends the rows", "now", "rows are accepted again"
    ),
    IncidentKind.NO_LABELS: Action(
        "look at the label feed", "what sends the labels", "today", "a cohort has labels again"
    ),
    IncidentKind.TOO_LITTLE_DATA: Action(
        "judge it with others", "this domain", "weeks", "more rows come in a week"
    ),
}


@dataclass(frozen=True, slots=True)
class ArrivalSettings:
    """`quiet_after` and `labels_after` None are learnt; zero switches a state off."""

    quiet_after: timedelta | None = None
    labels_after: timedelta | None = None
    few_rows: int = 50


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a deployment has let us wait: the longest pause of each day, wall clock.

    `days` are (days since 1970 UTC, seconds), the last 28 that had an arrival.
    """

    last_at: datetime
    days: tuple[tuple[int, float], ...] = ()

    @property
    def longest(self) -> timedelta:
        return timedelta(seconds=max((seconds for _, seconds in self.days), default=0.0))


@dataclass(frozen=True, slots=True)
class LabelTicks:
    """Judged ticks of cohorts with rows, oldest first: when each ended, and its labels."""

    ends: tuple[datetime, ...] = ()
    labelled: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrival:
    """What has come for a deployment. `week_rows` None: not two weeks of event time yet."""

    deployment: Deployment
    waits: Waits | None = None
    labels: LabelTicks = LabelTicks()
    week_rows: int | None = None


def note_arrival(waits: Waits | None, last_at: datetime, *, up_since: datetime) -> Waits:
    """Remember a pause that has ended. What passed while nobody could listen is no pause."""
    if waits is None or last_at <= waits.last_at:
        return waits or Waits(last_at)
    pause = max((last_at - max(waits.last_at, up_since)).total_seconds(), 0.0)
    day = int(last_at.timestamp()) // 86_400
    kept = dict(waits.days)
    kept[day] = max(kept.get(day, 0.0), pause)
    return Waits(last_at, tuple(sorted(kept.items()))[-KEPT_DAYS:])


def allowed_pause(waits: Waits, settings: ArrivalSettings) -> timedelta | None:
    """How long a source may be silent; None: it is not known well enough, or not asked for."""
    if settings.quiet_after is not None:
        return settings.quiet_after or None
    if len(waits.days) < LEARNING_DAYS:
        return None
    return min(max(MARGIN * waits.longest, SHORTEST), LONGEST)


def quiet_words(
    arrival: Arrival, settings: ArrivalSettings, *, now: datetime, up_since: datetime
) -> str:
    """That nothing has come for too long, "" if that is not so or cannot be known."""
    waits = arrival.waits
    allowed = None if waits is None else allowed_pause(waits, settings)
    if waits is None or allowed is None:
        return ""
    silent = now - max(waits.last_at, up_since)
    if silent <= allowed:
        return ""
    heard = "its longest pause so far is" if settings.quiet_after is None else "it may pause for"
    usual = waits.longest if settings.quiet_after is None else allowed
    return (
        f"no row has come for {length(now - waits.last_at)}, since {moment(waits.last_at)}; "
        f"{heard} {length(usual)}"
    )


def label_words(
    arrival: Arrival, settings: ArrivalSettings, *, now: datetime, up_since: datetime
) -> str:
    """That cohorts have no labels although there used to be some, "" if that is not so."""
    ends, labelled = arrival.labels.ends, arrival.labels.labelled
    with_labels = [place for place, count in enumerate(labelled) if count]
    if not with_labels or settings.labels_after == timedelta(0) or now - up_since < SETTLING:
        return ""
    last = with_labels[-1]
    missing = ends[-1] - ends[last]
    if settings.labels_after is not None:
        allowed = settings.labels_after
    else:
        if len({ends[place].date() for place in with_labels}) < LEARNING_DAYS:
            return ""
        gaps = [ends[b] - ends[a] for a, b in pairwise(with_labels)]
        allowed = max(MARGIN * max(gaps, default=timedelta(0)), timedelta(days=1))
    if missing <= allowed:
        return ""
    return (
        f"rows since {moment(ends[last])} have no labels although their time is over: "
        f"{length(missing)} of event time; up to {length(allowed)} would be usual"
    )


def few_words(arrival: Arrival, settings: ArrivalSettings, *, open_already: bool) -> str:
    """That too few rows come to judge anything, "" otherwise. None at all is another state."""
    rows = arrival.week_rows
    enough = settings.few_rows * (ENOUGH_AGAIN if open_already else 1.0)
    if not rows or rows >= enough:
        return ""
    return (
        f"{rows} rows in {FEW_DAYS} days of event time, {settings.few_rows} are the least that "
        "says anything"
    )


def decide_arrivals(
    model: str,
    arrivals: Sequence[Arrival],
    settings: ArrivalSettings,
    open_incidents: Sequence[Incident],
    *,
    now: datetime,
    up_since: datetime,
    alerts: AlertSettings,
) -> Decision:
    """Which of a model's arrival states begin and end now; one message a transition.

    Where every domain that is known well enough falls silent, and there are several, the model's
    source is what went quiet: one page instead of a ticket for each.
    """
    quiet = {
        arrival.deployment: words
        for arrival in arrivals
        if (words := quiet_words(arrival, settings, now=now, up_since=up_since))
    }
    judged = [
        arrival.deployment
        for arrival in arrivals
        if arrival.waits is not None and allowed_pause(arrival.waits, settings) is not None
    ]
    wanted: dict[tuple[Deployment, IncidentKind], str] = {}
    every = len(judged) >= 2 and len(quiet) == len(judged)
    if every:
        words = f"none of its {len(judged)} domains sends; {quiet[min(quiet)]}"
        wanted[Deployment(model, ""), IncidentKind.SOURCE_QUIET] = words
    known = {(i.deployment, i.kind): i for i in open_incidents if i.is_open}
    for arrival in arrivals:
        place_ = arrival.deployment
        words = quiet.get(place_, "")
        # Told alone before all fell silent: it stays open until it sends.
        if words and (not every or (place_, IncidentKind.SOURCE_QUIET) in known):
            wanted[place_, IncidentKind.SOURCE_QUIET] = words
        words = label_words(arrival, settings, now=now, up_since=up_since)
        if words and place_ not in quiet:
            wanted[place_, IncidentKind.NO_LABELS] = words
        few = (place_, IncidentKind.TOO_LITTLE_DATA)
        if words := few_words(arrival, settings, open_already=few in known):
            wanted[few] = words
    decision = Decision()
    for (deployment, kind), words in wanted.items():
        if (deployment, kind) not in known:
            decision = _and(decision, _open(deployment, kind, words, now, alerts))
    for key, incident in known.items():
        if key not in wanted and _may_end(incident, arrivals, quiet):
            decision = _and(
                decision,
                resolve_by_service(incident, how=_HOW[incident.kind], now=now, settings=alerts),
            )
    return decision


_HOW = {
    IncidentKind.SOURCE_QUIET: "rows come again",
    IncidentKind.NO_LABELS: "labels come again",
    IncidentKind.TOO_LITTLE_DATA: "enough rows come again",
}


def _may_end(
    incident: Incident, arrivals: Sequence[Arrival], quiet: Mapping[Deployment, str]
) -> bool:
    """A restart, or a source that sends nothing at all, is no proof that rows or labels come."""
    own = [a for a in arrivals if incident.deployment in {a.deployment, _model_of(a)}]
    if incident.kind is IncidentKind.SOURCE_QUIET:
        last = [arrival.waits.last_at for arrival in own if arrival.waits is not None]
        return any(at > incident.opened_at for at in last)
    if incident.kind is IncidentKind.NO_LABELS:
        ticks = [a.labels for a in own if a.labels.ends]
        return any(t.labelled[-1] > 0 for t in ticks)
    return incident.deployment not in quiet and any(a.week_rows for a in own)


def _model_of(arrival: Arrival) -> Deployment:
    return Deployment(arrival.deployment.model, "")


def _open(
    deployment: Deployment, kind: IncidentKind, words: str, now: datetime, alerts: AlertSettings
) -> Decision:
    every = kind is IncidentKind.SOURCE_QUIET and not deployment.domain
    severity = {
        IncidentKind.SOURCE_QUIET: Severity.HIGH if every else Severity.MEDIUM,
        IncidentKind.NO_LABELS: Severity.MEDIUM,
        IncidentKind.TOO_LITTLE_DATA: Severity.LOW,
    }[kind]
    incident = Incident(
        id=service_incident_id(deployment, kind, now),
        deployment=deployment,
        mode=Mode.UNDETERMINED,
        state=IncidentState.OPEN,
        severity=severity,
        tier=Tier.PAGE if every else Tier.TICKET,
        headline=plain(f"{place(deployment)}: {kind.value} — {words}", 300),
        opened_at=now,
        updated_at=now,
        onset=now,
        action=_ACTION[kind],
        evidence=(words,),
        notified_at=now,
        history=(),
        kind=kind,
    )
    incident = record(incident, Change(now, "opened", words=words))
    incident, message = add_message(incident, _TYPE[kind], now, alerts)
    return Decision((incident,), (message,), reasons=(Reason("opened", words, incident.id),))


def _and(a: Decision, b: Decision) -> Decision:
    return replace(
        a,
        incidents=a.incidents + b.incidents,
        messages=a.messages + b.messages,
        reasons=a.reasons + b.reasons,
    )
