"""After a retraining: did it work, and from when on is the new state the domain's own?

While the result of a request serves and the domain has no reference of rows since, evidence about
the old reference says nothing new: a new version predicts otherwise, by design. So budgeted alarms
are only written down, for eight weeks at most. The stream that the request names decides in event
time whether the request was right (remedy.py). Two weeks of rows later they become the reference. A
refuted or undecided request changes nothing: harm is never made the norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from alerts.history import record
from alerts.records import (
    Change,
    Decision,
    Incident,
    MessageType,
    RequestStatus,
    RetrainingRequest,
)
from alerts.retraining import told
from alerts.settings import AlertSettings
from detectors.records import DAY_US, Deployment, Finding, StreamSpec, Tier, to_datetime, to_us
from monitor.rows.base import RowSource
from monitor.watching.progress import Progress, TickClock, index_of
from monitor.watching.remedy import verdict_on
from monitor.watching.watch import Watch

REBASE_US = 14 * DAY_US
"""As long as any domain is watched before it may page."""
REBASE_ROWS = 200
QUIET_KINDS = frozenset({"schema", "verdict", "mapping", "probe"})
"""What speaks while a new version warms up: checks without false alarms, and realised harm."""
HUSHED_US = 56 * DAY_US
"""No version warms up for longer: what has no reference of its own by then is told of again."""
Z = 1.64
MESSAGE_OF = {
    RequestStatus.VERIFIED: MessageType.RETRAINING_VERIFIED,
    RequestStatus.REFUTED: MessageType.RETRAINING_REFUTED,
    RequestStatus.UNDECIDED: MessageType.RETRAINING_UNDECIDED,
}


@dataclass(frozen=True, slots=True)
class Rebase:
    """Rows of event time that become the reference of a domain after a request."""

    request: RetrainingRequest
    since_us: int
    until_us: int


def warming(
    requests: Iterable[RetrainingRequest], deployment: Deployment, now_us: int
) -> RetrainingRequest | None:
    """The request whose result serves while the domain has no reference of rows since."""
    serving = [
        request
        for request in requests
        if request.deployment == deployment
        and request.status in {RequestStatus.COMPLETED, RequestStatus.VERIFIED}
        and request.rebased_at is None
        and request.served_since is not None
        and to_us(request.served_since) < now_us <= to_us(request.served_since) + HUSHED_US
    ]
    return max(serving, key=lambda r: (r.served_since, r.id), default=None)


def hushed(findings: Iterable[Finding], request: RetrainingRequest | None) -> list[Finding]:
    """Budgeted alarms about the old reference, written down and told to nobody."""
    if request is None:
        return list(findings)
    version = f" {request.version}" if request.version else ""
    why = f"warming: version{version} serves, its reference is not there yet"
    return [
        finding
        if finding.kind in QUIET_KINDS
        else replace(finding, tier=Tier.LOG, detail=f"{finding.detail} ({why})")
        for finding in findings
    ]


def with_harm(watch: Watch, progress: Progress, decision: Decision) -> Decision:
    """New requests with how far the stream of their test is off now: what has to go."""
    if not decision.retraining:
        return decision
    requests = []
    for request in decision.retraining:
        place = _place(watch, progress, request.action.stream)
        seen = None
        if place is not None:
            clock, stream, spec = place
            seen = clock.recent_effect(stream, since_us=to_us(request.since))
            seen = seen or clock.recent_effect(stream)
            if seen is not None and _off(spec, seen[0]) <= max(spec.delta_min, Z * seen[1]):
                seen = None  # its labels have not come yet: there is nothing to hold against
        requests.append(request if seen is None else replace(request, harm=seen[0]))
    return replace(decision, retraining=tuple(requests))


def judged(
    watch: Watch,
    progress: Progress,
    request: RetrainingRequest | None,
    now_us: int,
    alerts: AlertSettings,
) -> tuple[RetrainingRequest, Decision] | None:
    """Verified, refuted or, by the deadline, undecided; looked at once a day (remedy.py)."""
    if request is None or request.status is not RequestStatus.COMPLETED:
        return None
    if request.served_since is None or now_us % DAY_US >= watch.base_tick_us:
        return None
    if not request.action.stream:
        return None
    passed_us = now_us - watch.label_delay_us - to_us(request.served_since)
    ended = verdict_on(watch, progress, request, passed_us)
    if ended is None:
        return None
    status, outcome = ended
    request = replace(request, status=status, judged_at=to_datetime(now_us), outcome=outcome)
    return request, _told(request, now_us, alerts)


def _off(spec: StreamSpec, effect: float) -> float:
    """How far a stream is on the wrong side: a loss below the reference's is no harm."""
    return max(effect, 0.0) if spec.stream.id.startswith("loss.") else abs(effect)


def with_history(
    decision: Decision, request: RetrainingRequest, incidents: Mapping[str, Incident]
) -> Decision:
    """The incident behind a request remembers how it ended."""
    incident = incidents.get(request.incident_id)
    if incident is None or not incident.is_open or request.judged_at is None:
        return decision
    what = f"retraining {request.status.value}"
    noted = record(incident, Change(request.judged_at, what, words=request.outcome))
    return replace(decision, incidents=(*decision.incidents, noted))


def rebase_due(
    watch: Watch, request: RetrainingRequest | None, rows: RowSource, now_us: int
) -> Rebase | None:
    """Whether two weeks of rows with their labels are there; looked at once a day."""
    if request is None or request.served_since is None or now_us % DAY_US >= watch.base_tick_us:
        return None
    if watch.settings.tick_rows is not None:
        return None
    decided = request.status is RequestStatus.VERIFIED or not request.action.stream
    since_us = -(-to_us(request.served_since) // DAY_US) * DAY_US
    until_us = (now_us - watch.label_delay_us) // DAY_US * DAY_US
    if not decided or until_us - since_us < REBASE_US:
        return None
    count = sum(part.rows for part in rows.rows(since_us, until_us, labels_by_us=None))
    return Rebase(request, since_us, until_us) if count >= REBASE_ROWS else None


def _place(
    watch: Watch, progress: Progress, stream: str
) -> tuple[TickClock, int, StreamSpec] | None:
    """Where a stream is followed; a slice that is not followed is judged by all rows."""
    for name in (stream, stream.partition("@")[0]):
        for clock, specs in (
            (progress.label, watch.label_specs),
            (progress.feature, watch.feature_specs),
        ):
            found = index_of(specs).get(name)
            if found is not None:
                return clock, found, specs[found]
    return None


def _told(request: RetrainingRequest, now_us: int, alerts: AlertSettings) -> Decision:
    kind = MESSAGE_OF[request.status]
    message = told(request, kind, now=to_datetime(now_us), public_url=alerts.public_url)
    return Decision(messages=(message,))
