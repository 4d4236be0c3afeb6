"""What an evaluation means and what should happen: diagnose, decide, resolve. Event time only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from alerts.closing import note_margin, resolve_if_recovered
from alerts.lifecycle import decide
from alerts.mappings import MappingVersion
from alerts.records import Decision, Incident, Message, RetrainingRequest
from alerts.settings import AlertSettings
from detectors.actions import PROBE
from detectors.alignment.staleness import repeats
from detectors.calibration.over_time import SHIFT_GATE
from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.maturity.delay_curve import NEVER_US, delay_curve, delay_ratio
from detectors.records import (
    DAY_US,
    Diagnosis,
    Finding,
    MappingProposal,
    Mode,
    StreamSpec,
    Tier,
    TransferState,
    TransferVerdict,
    Window,
    concat_windows,
    to_datetime,
    to_us,
)
from detectors.schema.check import TIERS
from detectors.summary import TickSummary, transfer_sums
from detectors.sums import Sum
from detectors.transfer.class_losses import compared_words
from detectors.transfer.slices import slice_verdicts
from detectors.transfer.verdict import transfer_verdict
from monitor.baseline.baselines import Scorer, judged_against
from monitor.mapping.review import STREAM as MAPPING_STREAM
from monitor.mapping.review import broken_mappings, mapping_is_kept, with_review
from monitor.rows.base import RowSource
from monitor.watching.aftermath import (
    Rebase,
    hushed,
    judged,
    rebase_due,
    warming,
    with_harm,
    with_history,
)
from monitor.watching.erosion import STREAM as EROSION_STREAM
from monitor.watching.erosion import erosion_findings, is_eroded
from monitor.watching.first_days import first_rows
from monitor.watching.forecast_watch import recent_shift
from monitor.watching.forgotten import forgetting_findings, is_forgotten
from monitor.watching.onset import from_onset_on
from monitor.watching.pipeline import Evaluation
from monitor.watching.progress import Progress, TickClock, index_of
from monitor.watching.suspects import suspect_findings, watched
from monitor.watching.watch import DIAGNOSIS_ROWS, Watch, sample_rows

CURRENT_US = 14 * DAY_US
LONGEST_CURRENT_US = 56 * DAY_US
CURRENT_ROWS = 5_000
ENOUGH_ROWS = 1_000
CERTAIN = tuple(f"schema.{check}:" for check, tier in TIERS.items() if tier is Tier.PAGE)
MOVEMENT = frozenset({Mode.BENIGN, Mode.COVARIATE_SHIFT})
LABELLED = ("loss", "calibration", "transfer")
FOLLOW_UP_US = (1 * DAY_US, 3 * DAY_US, 7 * DAY_US)
PAGE_AGAIN_US = DAY_US
TICKET_AGAIN_US = 7 * DAY_US
SURE = 0.6
MANY_COLUMNS = 3


@dataclass(slots=True)
class Ledger:
    """The incidents and requests of one deployment, as they stand; decisions are written in."""

    incidents: dict[str, Incident] = field(default_factory=dict)
    requests: dict[str, RetrainingRequest] = field(default_factory=dict)
    mappings: dict[str, MappingVersion] = field(default_factory=dict)

    @property
    def open(self) -> list[Incident]:
        return [incident for incident in self.incidents.values() if incident.is_open]

    @property
    def closed(self) -> list[Incident]:
        return [incident for incident in self.incidents.values() if not incident.is_open]

    def apply(self, decision: Decision) -> None:
        """Take over what a decision changed."""
        self.incidents.update({incident.id: incident for incident in decision.incidents})
        self.requests.update({request.id: request for request in decision.retraining})


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Everything one instant brought, ready to be saved in one transaction."""

    evaluation: Evaluation
    findings: tuple[Finding, ...]
    diagnosis: Diagnosis | None
    verdict: TransferVerdict | None
    incidents: tuple[Incident, ...]
    messages: tuple[Message, ...]
    requests: tuple[RetrainingRequest, ...]
    mappings: tuple[MappingVersion, ...] = ()
    judged: tuple[RetrainingRequest, ...] = ()
    rebase: Rebase | None = None


def judge(
    watch: Watch,
    progress: Progress,
    evaluation: Evaluation,
    rows: RowSource,
    ledger: Ledger,
    *,
    alerts: AlertSettings,
) -> Step:
    """Turn findings into a diagnosis and a decision; moves `progress` and `ledger`."""
    now_us = evaluation.instant_us
    broken, instead = broken_mappings(watch, progress, rows, now_us)
    findings = [*evaluation.findings, *broken]
    verdict: TransferVerdict | None = None
    if (evaluation.cohort_day_closed or evaluation.ended) and watch.schema.has_baseline:
        verdict = standing_verdict(watch, progress, ended=evaluation.ended)
        findings += _verdict_findings(progress, verdict, now_us)
        findings += suspect_findings(watch, progress, verdict, now_us)
        if evaluation.cohort_day_closed:
            findings += erosion_findings(watch, progress, now_us)
    findings += forgetting_findings(watch, progress, rows, now_us)
    decisions: list[Decision] = []
    mappings: list[MappingVersion] = []
    served = warming(ledger.requests.values(), watch.deployment, now_us)
    findings = hushed(findings, served)

    def reviewed(decision: Decision, found: Sequence[MappingProposal]) -> Decision:
        """Add what people are asked to verify."""
        known = ledger.mappings.values()
        decision, made = with_review(watch, progress, known, decision, found, now_us, alerts)
        ledger.mappings.update({version.id: version for version in made})
        mappings.extend(made)
        return decision

    diagnosis: Diagnosis | None = None
    if any(finding.tier is not Tier.LOG for finding in findings):
        current: Window | None = None
        if _worth_diagnosing(progress, findings, ledger, now_us):
            telling = where_to_look(findings)
            since_us = min(to_us(finding.onset) for finding in telling)
            streams = [finding.stream for finding in telling]
            current = current_rows(watch, rows, streams, since_us, now_us)
            first = _first_days_sample(progress, rows, now_us)
            diagnosis = _diagnose(
                watch, progress, findings, current, verdict, now_us, reference=first
            )
            progress.diagnosed_us = now_us
        decision = decide(
            watch.deployment,
            findings=_matured(progress, findings),
            diagnosis=diagnosis,
            open_incidents=ledger.open,
            closed_incidents=ledger.closed,
            requests=tuple(ledger.requests.values()),
            now=to_datetime(now_us),
            settings=alerts,
            rows=None if current is None else current.rows,
        )
        _schedule_follow_up(progress, decision, findings, ledger.open, now_us)
        named = () if diagnosis is None else diagnosis.mappings
        decision = with_harm(watch, progress, reviewed(decision, [*instead, *named]))
        decisions.append(decision)
        ledger.apply(decision)
    if served is None:
        # Until it is known whether the retraining worked, no other name is looked for.
        for decision, again in _follow_up(watch, progress, rows, ledger, verdict, now_us, alerts):
            decision = with_harm(watch, progress, reviewed(decision, again.mappings))
            decisions.append(decision)
            ledger.apply(decision)
    ended = judged(watch, progress, served, now_us, alerts)
    if ended is not None:
        served, decision = ended
        decision = with_history(decision, served, ledger.incidents)
        ledger.requests[served.id] = served
        decisions.append(decision)
        ledger.apply(decision)
    rebase = rebase_due(watch, served, rows, now_us)
    for decision in _resolve(watch, progress, ledger, verdict, now_us, alerts):
        decisions.append(decision)
        ledger.apply(decision)
    progress.note_ill(own_illness(progress, ledger.open), now_us)
    progress.pages += sum(f.tier is Tier.PAGE and f.kind == "drift" for f in findings)
    progress.tickets += sum(f.tier is Tier.TICKET and f.kind == "drift" for f in findings)
    changed = {i.id: i for decision in decisions for i in decision.incidents}
    return Step(
        evaluation=evaluation,
        findings=tuple(findings),
        diagnosis=diagnosis,
        verdict=verdict,
        incidents=tuple(changed.values()),
        messages=tuple(m for decision in decisions for m in decision.messages),
        requests=tuple(r for decision in decisions for r in decision.retraining),
        mappings=tuple(mappings),
        judged=() if ended is None else (ended[0],),
        rebase=rebase,
    )


def standing_verdict(watch: Watch, progress: Progress, *, ended: bool) -> TransferVerdict:
    """The verdict of a deployment that is being watched, against the baseline it has now."""
    return current_verdict(
        watch,
        progress.cohort_days,
        ended=ended,
        scorer=progress.scorer,
        left_out=progress.left_out,
    )


def current_verdict(
    watch: Watch,
    days: Sequence[TickSummary],
    *,
    ended: bool,
    scorer: Scorer | None = None,
    left_out: int = 0,
) -> TransferVerdict:
    """Transfer against scratch on every cohort that has entered evidence, slices included.

    With a `scorer` the word is only given where its baseline is fit to compare with.
    """
    verdict = _verdict_on_rows(watch, days, ended=ended)
    if scorer is None or not days or not watch.schema.has_baseline:
        return verdict
    return judged_against(
        verdict,
        scorer.facts,
        watch.settings.baseline,
        now_us=days[-1].end_us,
        left_out=left_out,
        trouble=scorer.trouble or _left_uncompared(watch, days),
    )[0]


def _left_uncompared(watch: Watch, days: Sequence[TickSummary]) -> str:
    """How many labelled rows a loss of class probabilities could not read, where they are many."""
    if watch.loss is None or watch.loss.classes is None:
        return ""
    return compared_words(
        sum(day.labelled_rows for day in days),
        round(sum(day.sum(Sum.PAIRED_ROWS) for day in days)),
    )


def _verdict_on_rows(watch: Watch, days: Sequence[TickSummary], *, ended: bool) -> TransferVerdict:
    schema, settings, rate = watch.schema, watch.settings, watch.profile.label_rate
    overall = transfer_verdict(
        transfer_sums(days, label_rate=rate) if schema.has_baseline else None,
        task=schema.task,
        settings=settings,
        ended=ended,
        minority_rate=None if rate is None else min(rate, 1.0 - rate),
    )
    if not schema.has_baseline or not days or not watch.profile.slices:
        return overall
    slices = slice_verdicts(
        overall,
        {ref.name: transfer_sums(days, ref.name) for ref in watch.profile.slices},
        {ref.name: ref.rows for ref in watch.profile.slices},
        task=schema.task,
        settings=settings,
        ended=ended,
    )
    return replace(overall, slices=slices)


def _verdict_findings(progress: Progress, verdict: TransferVerdict, now_us: int) -> list[Finding]:
    """A page the first time the verdict says hurts, overall or for a slice: outside the budget.

    Harm against a baseline that is not fit to compare with files a ticket instead, once.
    """
    found = []
    if verdict.rows_alone is TransferState.HURTS and not progress.doubt_told:
        progress.doubt_told = True
        found.append(
            Finding(
                kind="verdict",
                ts=to_datetime(now_us),
                onset=to_datetime(progress.first_live_us or now_us),
                stream="transfer.verdict",
                tier=Tier.TICKET,
                effect=verdict.difference,
                detail=verdict.words,
            )
        )
    for name, part in (("", verdict), *verdict.slices):
        if part.state is not TransferState.HURTS or name in progress.verdict_told:
            continue
        progress.verdict_told.append(name)
        found.append(
            Finding(
                kind="verdict",
                ts=to_datetime(now_us),
                onset=to_datetime(progress.first_live_us or now_us),
                stream=f"transfer.verdict@{name}" if name else "transfer.verdict",
                tier=Tier.PAGE,
                slice=name,
                effect=part.difference,
                detail=part.words,
            )
        )
    return found


def _worth_diagnosing(
    progress: Progress, findings: Sequence[Finding], ledger: Ledger, now_us: int
) -> bool:
    """A diagnosis reads thousands of rows; further alarms of a known incident need no new one."""
    if progress.diagnosed_us is None or any(f.kind == "verdict" for f in findings):
        return True
    since_us = now_us - progress.diagnosed_us
    if any(finding.tier is Tier.PAGE for finding in findings):
        paged = any(incident.tier is Tier.PAGE for incident in ledger.open)
        return not paged or since_us >= PAGE_AGAIN_US
    return not ledger.open or since_us >= TICKET_AGAIN_US


def _matured(progress: Progress, findings: Sequence[Finding]) -> list[Finding]:
    """Findings with the state of the budget in words where it is not yet promised."""
    words = {
        True: progress.feature.bank.maturity.value,
        False: progress.label.bank.maturity.value,
    }
    out = []
    for finding in findings:
        labelled = finding.stream.startswith(LABELLED)
        state = words[not labelled]
        provisional = finding.kind == "drift" and state == "provisional"
        out.append(
            replace(finding, detail=f"{finding.detail} (provisional)") if provisional else finding
        )
    return out


def where_to_look(findings: Sequence[Finding]) -> Sequence[Finding]:
    """The findings that say from when on rows are ill: certain checks, where there are any.

    A check without false alarms knows the tick in which it began; evidence beside it often dates
    the change days earlier, and its rows would hide an empty column among full ones.
    """
    certain = [finding for finding in findings if finding.stream.startswith(CERTAIN)]
    return certain or findings


def current_rows(
    watch: Watch, rows: RowSource, streams: Sequence[str], since_us: int, now_us: int
) -> Window:
    """Rows from a change on, at most 5,000, with the labels known by now.

    They end where the alarmed streams have been judged to: now, or one label delay ago where
    labels are followed. They span 14 days, or 56 where that gives fewer than 1,000 rows, and
    begin where the change stands out, if it does.
    """
    labelled = any(stream.startswith(LABELLED) for stream in streams)
    until_us = now_us - (watch.label_delay_us if labelled else 0)
    current = Window(rows=0)
    for span_us in (CURRENT_US, LONGEST_CURRENT_US):
        begin_us = max(since_us, until_us - span_us)
        current = concat_windows(rows.rows(begin_us, until_us, labels_by_us=now_us))
        if current.rows >= ENOUGH_ROWS or begin_us == since_us:
            break
    current = from_onset_on(current, watch.schema.task, watch.reference)
    return sample_rows(current, CURRENT_ROWS, seed=0)


def _first_days_sample(progress: Progress, rows: RowSource, now_us: int) -> Window | None:
    """Rows of the first days of serving, where they stand for a reference without times."""
    first = first_rows(progress.first_days, rows, now_us)
    return None if first is None else sample_rows(first, DIAGNOSIS_ROWS, seed=0)


def reference_rows(watch: Watch, progress: Progress, rows: RowSource, now_us: int) -> Window:
    """What a diagnosis compares with: the domain's reference, or its own first 14 days."""
    first = _first_days_sample(progress, rows, now_us)
    if first is not None:
        return first
    if watch.own_reference or progress.first_live_us is None:
        return watch.reference
    since_us = progress.first_live_us
    grown = list(rows.rows(since_us, since_us + CURRENT_US, labels_by_us=None))
    own = concat_windows(grown)
    return sample_rows(own, DIAGNOSIS_ROWS, seed=0) if own.rows else watch.reference


def _diagnose(
    watch: Watch,
    progress: Progress,
    findings: Sequence[Finding],
    current: Window,
    verdict: TransferVerdict | None,
    now_us: int,
    *,
    reference: Window | None = None,
) -> Diagnosis:
    if verdict is None and watch.schema.has_baseline and progress.cohort_days:
        verdict = standing_verdict(watch, progress, ended=False)
    columns = {finding.column for finding in findings if finding.column}
    many = len(columns) >= max(MANY_COLUMNS, len(watch.schema.columns) // 2)
    context = DiagnosisContext(
        findings=tuple(findings),
        transfer=verdict,
        many_columns_one_tick=many,
        volume_ratio=_volume_ratio(watch, current),
        label_delay_ratio=delay_ratio_of(watch, progress, current, now_us),
        version_changed=_version_changed(current),
        forgotten=watch.versions.forgotten_by(_served(current)),
        incompatible=watch.versions.broken_by(_served(current)),
        stale=watch.versions.stale_in(current) or repeats(watch.vectors, current),
    )
    base = watch.reference if reference is None else reference
    return diagnose(base, current, watch.schema, context)


def _volume_ratio(watch: Watch, current: Window) -> float | None:
    """Rows a day over the busiest or quietest week of the reference; 1 between the two.

    None where either has no time axis, or ticks are row counts.
    """
    if watch.reference_rows_per_day is None or current.ts_us is None or current.rows < 50:
        return None
    days = (int(current.ts_us.max()) - int(current.ts_us.min())) / DAY_US
    if days < 1 or current.rows >= CURRENT_ROWS or watch.settings.tick_rows is not None:
        return None
    a_day = float(current.weights().sum()) / days
    quietest, busiest = watch.reference_rows_per_day
    return min(a_day / quietest, 1.0) if a_day < busiest else a_day / busiest


def delay_ratio_of(watch: Watch, progress: Progress, current: Window, now_us: int) -> float | None:
    """How much longer labels take than in the reference; None unless the stream of delays moved."""
    if progress.label_watch is None or progress.label_watch.moved_us is None:
        return None
    before = delay_curve(watch.reference, as_of_us=NEVER_US)
    now = delay_curve(current, as_of_us=now_us)
    return None if before is None or now is None else delay_ratio(before, now)


def _served(current: Window) -> frozenset[str] | None:
    """The versions that the rows name; None where they name none."""
    if current.version is None:
        return None
    used = np.unique(current.version.codes[current.version.codes >= 0])
    return frozenset(current.version.values[code] for code in used) or None


def _version_changed(current: Window) -> bool:
    if current.version is None:
        return False
    return bool(len(np.unique(current.version.codes[current.version.codes >= 0])) > 1)


def _schedule_follow_up(
    progress: Progress,
    decision: Decision,
    findings: Sequence[Finding],
    before: Sequence[Incident],
    now_us: int,
) -> None:
    """Look again tomorrow at what is unsure or pages, from where its alarms now say it began.

    An incident may be older than the change that made it page: rows from before are not it. So
    may one that has no name yet, when another stream joins it: what began then may have one.
    """
    known = {incident.id: set(incident.streams) for incident in before}
    for incident in decision.incidents:
        unsure = incident.mode is Mode.UNDETERMINED or incident.tier is Tier.PAGE
        if incident.is_open and unsure:
            mine = [f for f in findings if f.stream in incident.streams] or findings
            joined = [f for f in mine if f.stream not in known.get(incident.id, set())]
            anew = incident.mode is Mode.UNDETERMINED and bool(joined)
            telling = where_to_look(joined if anew else mine)
            began_us = min(to_us(finding.onset) for finding in telling)
            paged = any(finding.tier is Tier.PAGE for finding in mine)
            if anew or incident.id not in progress.follow_up_us:
                progress.follow_up_us[incident.id] = now_us + FOLLOW_UP_US[0]
                progress.watched_us[incident.id] = now_us
            if anew or paged or incident.id not in progress.sighted_us:
                progress.sighted_us[incident.id] = began_us


def _follow_up(
    watch: Watch,
    progress: Progress,
    rows: RowSource,
    ledger: Ledger,
    verdict: TransferVerdict | None,
    now_us: int,
    alerts: AlertSettings,
) -> Iterable[tuple[Decision, Diagnosis]]:
    """Look again at an open incident when more rows and labels have come; rename it if wrong."""
    for incident in ledger.open:
        due_us = progress.follow_up_us.get(incident.id)
        if due_us is None or due_us > now_us:
            continue
        watched_us = progress.watched_us.get(incident.id, to_us(incident.opened_at))
        later = [watched_us + wait for wait in FOLLOW_UP_US if watched_us + wait > now_us]
        if later:
            progress.follow_up_us[incident.id] = later[0]
        else:
            del progress.follow_up_us[incident.id]
        began_us = progress.sighted_us.get(incident.id, to_us(incident.onset))
        again = _restated(incident, began_us, now_us)
        current = current_rows(watch, rows, incident.streams, began_us, now_us)
        reference = reference_rows(watch, progress, rows, now_us)
        diagnosis = _diagnose(
            watch, progress, [again], current, verdict, now_us, reference=reference
        )
        if diagnosis.evidence:
            again = replace(again, detail=diagnosis.evidence[0])
        named = diagnosis.mode not in {Mode.NONE, Mode.UNDETERMINED, incident.mode}
        if _is_certain(incident) and diagnosis.mode in MOVEMENT:
            continue  # what the rows after the repair look like is not what was wrong
        if not named or (incident.mode is not Mode.UNDETERMINED and diagnosis.confidence < SURE):
            continue
        decision = decide(
            watch.deployment,
            findings=[again],
            diagnosis=diagnosis,
            open_incidents=ledger.open,
            requests=tuple(ledger.requests.values()),
            now=to_datetime(now_us),
            settings=alerts,
            rows=current.rows,
        )
        yield decision, diagnosis


def _is_certain(incident: Incident) -> bool:
    """Whether a check without false alarms opened it: a column missing, retyped or all null."""
    return any(stream.startswith(CERTAIN) for stream in incident.streams)


def _restated(incident: Incident, began_us: int, now_us: int) -> Finding:
    """An open incident's first stream, said again so that a better diagnosis can join it.

    What alarms now say began long after the incident is told beside its name, not instead of it.
    """
    return Finding(
        kind="follow-up",
        ts=to_datetime(now_us),
        onset=max(incident.onset, to_datetime(began_us)),
        stream=incident.streams[0] if incident.streams else "",
        tier=incident.tier,
        evidence=incident.peak,
        detail="looked at again with more rows",
    )


def _resolve(
    watch: Watch,
    progress: Progress,
    ledger: Ledger,
    verdict: TransferVerdict | None,
    now_us: int,
    alerts: AlertSettings,
) -> Iterable[Decision]:
    """Close incidents whose streams lie inside the practical margin; judged once a day."""
    if now_us % DAY_US >= watch.base_tick_us:
        return
    now = to_datetime(now_us)
    for incident in ledger.open:
        inside = _inside_margin(watch, progress, incident, verdict)
        if inside is None:
            continue
        noted = note_margin(incident, inside=inside, now=now)
        if noted != incident:
            yield Decision(incidents=(noted,))
        yield resolve_if_recovered(
            noted, inside_margin_since=noted.recovering_since, now=now, settings=alerts
        )


def _inside_margin(
    watch: Watch, progress: Progress, incident: Incident, verdict: TransferVerdict | None
) -> bool | None:
    """Whether every stream of an incident is back; None where none of them can be judged."""
    feature, label = index_of(watch.feature_specs), index_of(watch.label_specs)
    beside: list[tuple[TickClock, dict[str, int], tuple[StreamSpec, ...]]] = []
    if progress.label_watch is not None:
        specs = progress.label_watch.specs
        beside.append((progress.label_watch.clock, index_of(specs), specs))
    if progress.volume_watch is not None:
        specs = progress.volume_watch.specs
        beside.append((progress.volume_watch.clock, index_of(specs), specs))
    beside += [
        (clock, index_of(clock.bank.specs), clock.bank.specs)
        for days in progress.days
        for clock in days.clocks
    ]
    if progress.newcomers is not None:
        beside += [
            (clock, index_of(clock.bank.specs), clock.bank.specs)
            for clock in progress.newcomers.clocks
        ]
    answers: list[bool] = []
    for stream in incident.streams:
        if stream.startswith("transfer.suspect"):
            answers.append(stream.partition("@")[2] not in watched(progress))
            continue
        shift = None
        if progress.forecast_watch is not None:
            shift = recent_shift(watch, progress.forecast_watch, stream)
        if shift is not None:
            answers.append(abs(shift[0]) <= max(SHIFT_GATE, 1.64 * shift[1]))
            continue
        if stream.startswith("transfer.verdict"):
            answers.append(verdict is None or verdict.state is not TransferState.HURTS)
            continue
        if stream == EROSION_STREAM:
            eroded = is_eroded(watch, progress)
            answers += [] if eroded is None else [not eroded]
            continue
        if stream == PROBE:
            answers.append(not is_forgotten(watch))
            continue
        if stream.startswith(MAPPING_STREAM):
            answers.append(mapping_is_kept(progress, stream))
            continue
        if stream.startswith("schema"):
            answers.append(not progress.schema_is_ill(stream))
            continue
        for clock, places, specs in (
            (progress.feature, feature, watch.feature_specs),
            (progress.label, label, watch.label_specs),
            *beside,
        ):
            if stream in places:
                seen = clock.recent_effect(places[stream])
                if seen is not None:
                    effect, error = seen
                    margin = specs[places[stream]].delta_min
                    answers.append(abs(effect) <= max(margin, 1.64 * error))
    return all(answers) if answers else None


def own_illness(progress: Progress, incidents: Sequence[Incident]) -> Iterable[str]:
    """The streams in which open incidents say that a domain is ill by itself.

    A stream that moves is no proof of that where its difference from its peers is followed too: the
    whole fleet may have moved, and then it is still the best control there is.
    """
    named = {stream for incident in incidents for stream in incident.streams}
    for spec_id in _comparable_ids(progress):
        compared = any(spec_id in days.peers.controls for days in progress.days)
        if (f"{spec_id}~peers" if compared else spec_id) in named:
            yield spec_id


def _comparable_ids(progress: Progress) -> Iterable[str]:
    for days in progress.days:
        yield from (*days.peers.controls, *days.peers.why_not)


def spends_budget(incident: Incident) -> bool:
    """Whether an incident paged on evidence the budget bounds: not schema, not the verdict."""
    outside = ("schema", "transfer.verdict", "calibration.verdict")
    return incident.tier is Tier.PAGE and not all(
        stream.startswith(outside) for stream in incident.streams
    )
