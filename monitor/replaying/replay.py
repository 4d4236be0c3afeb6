"""History run through the pipeline as if live: what `kedge replay` does.

The same `evaluate` and `judge` as the daemon, rows from memory, nothing sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np

from alerts.mappings import MappingVersion
from alerts.records import Incident, RequestStatus, RetrainingRequest
from alerts.settings import AlertSettings
from detectors.evidence.peers import FEWEST_DOMAINS
from detectors.mappings.translate import translated
from detectors.records import (
    DAY_US,
    HOUR_US,
    AppliedMapping,
    Deployment,
    Finding,
    Mode,
    Schema,
    Settings,
    Tier,
    TransferVerdict,
    Window,
    concat_windows,
    to_datetime,
    to_us,
)
from detectors.summary import transfer_sums
from detectors.transfer.class_losses import class_columns
from detectors.transfer.erosion import Erosion, erosion_of
from detectors.transfer.gate import Gate, onboarding_gate
from detectors.transfer.losses import own_loss
from detectors.transfer.pooling import pool_for_display
from detectors.transfer.standing import BaselineFacts, standing_of
from monitor.baseline.baselines import planned_schema, refuse_loss
from monitor.baseline.scorers import open_scorer
from monitor.durations import duration_words
from monitor.errors import InputError, did_you_mean, shortened
from monitor.files.roles import has_baseline
from monitor.files.tables import Table, split_domains
from monitor.mapping.files import check_entry, check_file, known_of
from monitor.replaying.injecting import Placed, inject
from monitor.replaying.injection import Injection
from monitor.replaying.version_files import version_notes
from monitor.reports.forms import finding_json, finite, iso, verdict_json
from monitor.reports.transfer import gate_json, transfer_details
from monitor.rows.held import FileRows
from monitor.watching.aftermath import Rebase
from monitor.watching.alignment import NOTHING_KNOWN, VersionFacts, facts_json
from monitor.watching.day_words import by_day_json
from monitor.watching.fleet import Fleet, fleet_of
from monitor.watching.fleet_watch import FleetWatch, judge_fleet, open_fleet_watch, step_fleet
from monitor.watching.forecast_watch import followed_slices
from monitor.watching.in_step import in_step
from monitor.watching.judgement import CERTAIN, Ledger, judge, spends_budget, standing_verdict
from monitor.watching.lender import Lender
from monitor.watching.lending import Lending
from monitor.watching.named import run_lengths
from monitor.watching.pipeline import Evaluation, Lend, evaluate, open_progress
from monitor.watching.progress import Progress
from monitor.watching.standing import followed_streams, streams_summary
from monitor.watching.watch import Watch, onboarding_level, open_watch

SCHEMA_NAME = "kedge.replay/1"
FEWEST_REFERENCE_ROWS = 20
_SINCE = re.compile(r" since \d{1,2} [A-Z][a-z]{2} \d\d:\d\d")
OnTick = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class DomainReplay:
    """How one domain fared."""

    deployment: Deployment
    watch: Watch
    progress: Progress
    rows: FileRows
    findings: tuple[Finding, ...]
    incidents: tuple[Incident, ...]
    requests: tuple[RetrainingRequest, ...]
    verdict: TransferVerdict
    ticks: int
    since_us: int
    until_us: int
    mappings: tuple[MappingVersion, ...] = ()

    @property
    def days(self) -> float:
        return max((self.until_us - self.since_us) / DAY_US, 1 / 24)

    @property
    def page_incidents(self) -> list[Incident]:
        """Incidents that paged on budgeted evidence: what the budget is spent on."""
        return [incident for incident in self.incidents if spends_budget(incident)]

    @property
    def leading_incident(self) -> Incident | None:
        """The incident that says most about the domain now: paging, open, latest."""
        ranked = sorted(
            self.incidents,
            key=lambda i: (i.tier is Tier.PAGE, i.is_open, i.updated_at),
        )
        return ranked[-1] if ranked else None

    @property
    def facts(self) -> BaselineFacts | None:
        """What the domain was held against, where it is on record."""
        return None if self.progress.scorer is None else self.progress.scorer.facts

    @property
    def erosion(self) -> Erosion | None:
        """What is left of the benefit; ticks of rows have no 28 days."""
        if self.watch.settings.tick_rows is not None or not self.watch.schema.has_baseline:
            return None
        sums = transfer_sums(self.progress.cohort_days, label_rate=self.watch.profile.label_rate)
        return erosion_of(sums, onboarding=onboarding_level(self.watch))

    @property
    def guaranteed(self) -> bool:
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why the budget is not promised, "" if it is."""
        banks = [self.progress.feature.bank]
        if self.watch.label_specs:
            banks.append(self.progress.label.bank)
        reasons = [bank.why_not for bank in banks if not bank.guaranteed]
        return reasons[0] if reasons else ""


@dataclass(frozen=True, slots=True, eq=False)
class FleetReplay:
    """How all domains fared as one: what the medians over them showed."""

    watch: FleetWatch
    findings: tuple[Finding, ...]
    incidents: tuple[Incident, ...]

    @property
    def words(self) -> str:
        """What is followed of the fleet, in a line."""
        domains = {name for median in self.watch.medians.values() for name in median.domains}
        return (
            f"the median of {len(domains)} domains in {len(self.watch.medians)} streams, by the day"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A whole log: one entry a domain, notes on how files were read, and what was put in.

    `versions` is what anchors and a source probe say of the model's versions, where they are given.
    """

    model: str
    settings: Settings
    domains: tuple[DomainReplay, ...]
    notes: tuple[str, ...]
    placed: tuple[Placed, ...] = ()
    fleet: FleetReplay | None = None
    versions: VersionFacts = NOTHING_KNOWN


def replay(
    reference: Table,
    log: Table,
    settings: Settings,
    *,
    model: str = "model",
    on_tick: OnTick | None = None,
    injections: Sequence[Injection] = (),
    mappings: Mapping[str, Sequence[AppliedMapping]] = MappingProxyType({}),
    versions: VersionFacts = NOTHING_KNOWN,
) -> Replay:
    """Run every domain of a log past its reference.

    `on_tick(domain, done_us, total_us)` is called as event time moves on. `injections` are put
    into the log first. By `mappings` a domain's rows are read in the terms of the reference.
    `versions` is known from the first row on; it is told of rows that name a version.

    Raises:
        InputError: if the log has no time axis and the tick is not a row count, or an injection
            does not fit it.
    """
    notes: list[str] = []
    if settings.tick_rows is None and log.window.ts_us is None:
        msg = (
            f"{log.path}: replay needs event times; name them with --timestamp COLUMN, "
            "or take rows in file order with --tick 50rows"
        )
        raise InputError(msg)
    schema = planned_schema(_schema(reference, log), settings.baseline)
    settings = own_loss(settings, schema)
    refuse_loss(schema, settings)
    past, live = _timed(reference, notes), _timed(log, notes)
    live, placed = inject(live, past, schema, injections)
    references, parts = dict(split_domains(past)), dict(split_domains(live))
    _note_nameless(live, notes)
    notes += version_notes(versions, (past, live))
    notes += [f"{name}: in the reference only" for name in references if name not in parts]
    if past.domain is None and live.domain is not None:
        notes.pop()
        notes.append("the reference has no domain column: every domain is held against all of it")
        references = dict.fromkeys(parts, references["default"])
    _check_mappings(mappings, schema, past, parts)
    lending = Lending(model, schema, settings, lambda name: references[str(name)])
    known = [] if past.domain is None else _lenders(references)
    runs: list[DomainRun] = []
    for name, rows in parts.items():
        own = references.get(name)
        if own is not None and own.rows < FEWEST_REFERENCE_ROWS:
            notes.append(
                f"{name}: {own.rows} reference rows are too few; it starts as a new domain"
            )
            own = None
        elif own is None:
            notes.append(f"{name}: no reference rows; it starts as a new domain")
        if own is not None and settings.tick_rows is None:
            rows = _after(own, rows, name, notes)
            if not rows.rows:
                continue
        runs.append(
            open_run(
                Deployment(model, name),
                schema,
                settings,
                reference=own,
                pooled=past,
                rows=rows,
                mappings=tuple(mappings.get(name, ())),
                versions=versions,
            )
        )
    if not runs:
        msg = f"{log.path}: no rows left to replay; {'; '.join(notes)}"
        raise InputError(msg)
    fleet = _fleet(model, schema, settings, known, references, runs)
    for run in runs:
        run.start(lending.to(run.domain, run.since_us, known), fleet)
    replay_together(runs, fleet, on_tick)
    domains = tuple(run.result() for run in runs)
    together = None if fleet is None else _together(fleet, max(run.until_us for run in runs))
    return Replay(model, settings, domains, tuple(notes), placed, together, versions)


def _together(fleet: Fleet, until_us: int) -> FleetReplay | None:
    """The fleet as a whole to the end of the log; None where no median is followed."""
    watch = open_fleet_watch(fleet)
    if watch is None:
        return None
    findings: list[Finding] = []
    ledger = Ledger()
    for now_us, seen in step_fleet(watch, fleet, watermark_us=until_us):
        findings += seen
        judge_fleet(watch, fleet.model, seen, ledger, now_us, AlertSettings())
    return FleetReplay(watch, tuple(findings), tuple(ledger.incidents.values()))


def _fleet(
    model: str,
    schema: Schema,
    settings: Settings,
    known: Sequence[Lender],
    references: Mapping[str, Window],
    runs: Sequence[DomainRun],
) -> Fleet | None:
    """The domains that may be held against each other; None where there are too few."""
    by_name = {run.domain: run for run in runs}
    if settings.tick_rows is not None or not settings.peers or len(known) < FEWEST_DOMAINS:
        return None
    return Fleet(
        model=model,
        schema=schema,
        settings=settings,
        known=fleet_of(known),
        load=lambda name: references[str(name)],
        rows=lambda name: by_name[name].rows if name in by_name else None,
        first_live_us=lambda name: by_name[name].since_us if name in by_name else None,
        progress=lambda name: by_name[name].progress if name in by_name else None,
    )


def _check_mappings(
    mappings: Mapping[str, Sequence[AppliedMapping]],
    schema: Schema,
    reference: Window,
    parts: Mapping[str, Window],
) -> None:
    """Refuse what names a domain, column or category that is not there."""
    for domain, mine in mappings.items():
        if domain not in parts:
            msg = f"a mapping is for domain '{domain}'; the log has {shortened(sorted(parts))}."
            raise InputError(msg + did_you_mean(domain, parts))
        known = known_of(schema, reference, parts[domain])
        try:
            check_file([one.entry for one in mine])
            for one in mine:
                check_entry(one.entry, known)
        except InputError as error:
            msg = f"mappings of {domain}: {error}"
            raise InputError(msg) from error


def _lenders(references: Mapping[str, Window]) -> list[Lender]:
    """The references that other domains may learn from."""
    return [
        Lender(name, name, int(rows.ts_us.min()), int(rows.ts_us.max()))
        for name, rows in references.items()
        if rows.ts_us is not None and rows.rows >= FEWEST_REFERENCE_ROWS
    ]


def _timed(table: Table, notes: list[str]) -> Window:
    """A table's rows without those whose event time is null."""
    window = table.window
    if window.ts_us is None:
        return window
    known = window.ts_us < np.iinfo(np.int64).max
    if known.all():
        return window
    notes.append(f"{table.path}: {int((~known).sum()):,} rows without an event time are left out")
    return window.take(known)


def _note_nameless(live: Window, notes: list[str]) -> None:
    if live.domain is not None and (nameless := int((live.domain.codes < 0).sum())):
        notes.append(f"{nameless:,} rows of the log name no domain and are left out")


def _after(reference: Window, rows: Window, name: str, notes: list[str]) -> Window:
    """The log rows that come after the reference: the others would be judged by themselves.

    A log of which most rows are not later was split from its reference by rows, not by time: it
    is judged whole.
    """
    if reference.ts_us is None or rows.ts_us is None:
        return rows
    later = rows.ts_us > reference.ts_us.max()
    if later.all():
        return rows
    if later.mean() < 0.5:
        notes.append(f"{name}: the log runs beside its reference in time, not after it")
        return rows
    notes.append(
        f"{name}: {int((~later).sum()):,} of {rows.rows:,} log rows are not later than the "
        "reference and are left out"
    )
    return rows.take(later)


def replay_domain(
    deployment: Deployment,
    schema: Schema,
    settings: Settings,
    *,
    reference: Window | None,
    pooled: Window,
    rows: Window,
    on_tick: OnTick | None = None,
    served: Mapping[int, str] | None = None,
    lend: Lend | None = None,
    mappings: tuple[AppliedMapping, ...] = (),
    versions: VersionFacts = NOTHING_KNOWN,
) -> DomainReplay:
    """One domain by itself, from its first row to the end of its log.

    By `mappings` its rows are read and held to, as approved ones are. `served` are the deeds of
    the past: at an event time, the version that completed whatever retraining was asked for by
    then. `lend`: what older domains know of one that starts young; `versions`: what anchors and a
    source probe say.
    """
    run = open_run(
        deployment,
        schema,
        settings,
        reference=reference,
        pooled=pooled,
        rows=rows,
        mappings=mappings,
        versions=versions,
    )
    run.served = dict(served or {})
    run.start(lend)
    replay_together([run], None, on_tick)
    return run.result()


def replay_together(runs: Sequence[DomainRun], fleet: Fleet | None, on_tick: OnTick | None) -> None:
    """Take domains to the end of their logs, all of them at the same instant."""
    for run, evaluation in in_step(runs, flush=True, fleet=fleet):
        run.take(evaluation)
        if on_tick is not None:
            since_us = run.since_us
            on_tick(run.domain, evaluation.instant_us - since_us, run.until_us - since_us)


def open_run(
    deployment: Deployment,
    schema: Schema,
    settings: Settings,
    *,
    reference: Window | None,
    pooled: Window,
    rows: Window,
    mappings: tuple[AppliedMapping, ...] = (),
    versions: VersionFacts = NOTHING_KNOWN,
) -> DomainRun:
    """A domain with its rows in order, not yet started."""
    if settings.tick_rows is not None:
        reference, rows = _rows_as_time(reference, rows, settings.tick_rows)
        settings = replace(settings, tick_us=HOUR_US, label_delay_us=0)
    assert rows.ts_us is not None
    rows = translated(rows.take(np.argsort(rows.ts_us, kind="stable")), mappings)
    assert rows.ts_us is not None
    since_us, until_us = int(rows.ts_us[0]), int(rows.ts_us[-1]) + 1
    if settings.review_us is None:
        settings = replace(settings, review_us=max(until_us - since_us, DAY_US))
    watch = open_watch(
        deployment,
        schema,
        settings,
        reference=pooled if reference is None else reference,
        own_reference=reference is not None,
        mappings=mappings,
    )
    watch = replace(watch, versions=versions)
    return DomainRun(watch, reference, FileRows(rows), since_us, until_us)


@dataclass(slots=True, eq=False)
class DomainRun:
    """One domain on its way through its log; a `Party` of those that move in step."""

    watch: Watch
    reference: Window | None
    rows: FileRows
    since_us: int
    until_us: int
    served: dict[int, str] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    findings: list[Finding] = field(default_factory=list)
    ticks: int = 0
    _progress: Progress | None = None

    @property
    def domain(self) -> str:
        return self.watch.deployment.domain

    @property
    def progress(self) -> Progress:
        assert self._progress is not None, "start the run first"
        return self._progress

    def start(self, lend: Lend | None = None, fleet: Fleet | None = None) -> None:
        """Run the clocks through the reference."""
        self._progress = open_progress(self.watch, self.reference, lend, fleet)
        self._progress.scorer = open_scorer(self.watch, self.reference)

    def take(self, evaluation: Evaluation) -> None:
        """Judge what an instant brought; a new reference takes over where one is due."""
        now_us = evaluation.instant_us
        _complete(self.ledger, self.served, now_us)
        alerts = AlertSettings()
        step = judge(self.watch, self.progress, evaluation, self.rows, self.ledger, alerts=alerts)
        self.findings += step.findings
        self.ticks += sum(name == "feature" for name, _ in evaluation.summaries)
        if step.rebase is not None:
            request = replace(step.rebase.request, rebased_at=to_datetime(now_us))
            self.ledger.requests[request.id] = request
            self.watch, self._progress = _rebased(self.watch, self.rows, step.rebase, now_us)

    def result(self) -> DomainReplay:
        """How it fared, when all is told."""
        return DomainReplay(
            deployment=self.watch.deployment,
            watch=self.watch,
            progress=self.progress,
            rows=self.rows,
            findings=tuple(self.findings),
            incidents=tuple(self.ledger.incidents.values()),
            requests=tuple(self.ledger.requests.values()),
            verdict=standing_verdict(self.watch, self.progress, ended=True),
            ticks=self.ticks,
            since_us=self.since_us,
            until_us=self.until_us,
            mappings=tuple(self.ledger.mappings.values()),
        )


def _complete(ledger: Ledger, served: Mapping[int, str], now_us: int) -> None:
    """What somebody did by now: open requests asked for before are completed."""
    for at_us, version in served.items():
        for request in list(ledger.requests.values()):
            if request.is_open and to_us(request.requested_at) <= at_us <= now_us:
                ledger.requests[request.id] = replace(
                    request,
                    status=RequestStatus.COMPLETED,
                    version=version,
                    served_since=to_datetime(at_us),
                )


def _rebased(watch: Watch, rows: FileRows, rebase: Rebase, now_us: int) -> tuple[Watch, Progress]:
    """The watch on rows of the new version, at the same instant; nothing is said of the past."""
    parts = list(rows.rows(rebase.since_us, rebase.until_us, labels_by_us=now_us))
    reference = concat_windows(parts)
    fresh = open_watch(
        watch.deployment,
        watch.schema,
        watch.settings,
        reference=reference,
        own_reference=True,
        mappings=watch.mappings,
        live_since_us=rebase.until_us,
    )
    watch = replace(fresh, versions=watch.versions)
    progress = open_progress(watch, reference)
    progress.scorer = open_scorer(watch, reference)
    for _ in evaluate(watch, progress, rows, watermark_us=now_us):
        pass
    return watch, progress


def _schema(reference: Table, log: Table) -> Schema:
    """The reference's columns, with what the log adds of outcomes."""
    return replace(
        reference.schema,
        has_score=log.window.score is not None,
        has_baseline=has_baseline(log.window, reference.schema.outputs)
        and log.window.score is not None,
        has_label=log.window.label is not None,
    )


def _rows_as_time(
    reference: Window | None, rows: Window, tick_rows: int
) -> tuple[Window | None, Window]:
    """Give rows in file order one pseudo hour a tick; the log follows the reference."""

    def timed(window: Window, first_tick: int) -> Window:
        tick = first_tick + np.arange(window.rows, dtype=np.int64) // tick_rows
        return replace(window, ts_us=tick * HOUR_US, label_ts_us=None)

    if reference is None:
        return None, timed(rows, 0)
    ticks = -(-reference.rows // tick_rows)
    return timed(reference, 0), timed(rows, ticks)


def to_json(result: Replay) -> dict[str, Any]:
    """The `kedge.replay/1` object."""
    by_rows = result.settings.tick_rows

    def when(instant: datetime) -> str | None:
        return None if by_rows else iso(instant)

    def row(instant: datetime, domain: DomainReplay) -> int:
        return (to_us(instant) - domain.since_us) // HOUR_US * (by_rows or 0)

    alarms, incidents = [], []
    for domain in result.domains:
        for finding in domain.findings:
            alarm = {"domain": domain.deployment.domain, **finding_json(finding)}
            if by_rows:
                alarm["ts"] = alarm["onset"] = None
                alarm["row"] = row(finding.ts, domain)
            alarms.append(alarm)
        incidents += [
            {
                **_incident_json(incident, headline_of(incident, domain), when),
                **({"row": row(incident.opened_at, domain)} if by_rows else {}),
            }
            for incident in sorted(domain.incidents, key=lambda i: i.opened_at)
        ]
    if result.fleet is not None:
        alarms += [{"domain": "", **finding_json(finding)} for finding in result.fleet.findings]
        incidents += [
            _incident_json(incident, incident.headline, when) for incident in result.fleet.incidents
        ]
    alarms.sort(key=lambda a: (a["ts"] or "", a.get("row") or 0, a["domain"], a["stream"]))
    return {
        "schema": SCHEMA_NAME,
        "ticks": max((domain.ticks for domain in result.domains), default=0),
        "alarms": alarms,
        "incidents": incidents,
        "transfer": {d.deployment.domain: transfer_json(d, result) for d in result.domains},
        "gate": {d.deployment.domain: gate_json(replay_gate(d)) for d in result.domains},
        "diagnosis": {d.deployment.domain: _diagnosis_json(d) for d in result.domains},
        "budget": {d.deployment.domain: budget_json(d, result.settings) for d in result.domains},
        "streams": {d.deployment.domain: followed_streams(d.progress) for d in result.domains},
        "retraining": [
            {
                "domain": domain.deployment.domain,
                "action": request.action.kind,
                "scope": request.action.scope,
                "requested_at": when(request.requested_at),
                "falsified_by": request.action.falsified_by,
            }
            for domain in result.domains
            for request in domain.requests
        ],
        "found_slices": {
            d.deployment.domain: followed_slices(d.watch, d.progress.forecast_watch)
            for d in result.domains
        },
        "fleet": None if result.fleet is None else {"words": result.fleet.words},
        "versions": None if result.versions is NOTHING_KNOWN else facts_json(result.versions),
        "notes": list(result.notes),
    }


def _incident_json(
    incident: Incident, headline: str, when: Callable[[datetime], str | None]
) -> dict[str, Any]:
    return {
        "domain": incident.deployment.domain,
        "opened_at": when(incident.opened_at),
        "closed_at": None if incident.closed_at is None else when(incident.closed_at),
        "mode": incident.mode.value,
        "action": incident.action.kind,
        "alarms": incident.alarms,
        "tier": incident.tier.value,
        "severity": incident.severity.value,
        "headline": headline,
        "evidence": list(incident.evidence),
    }


def transfer_json(domain: DomainReplay, result: Replay) -> dict[str, Any]:
    """A domain's verdict with what a report says beside it."""
    details, _ = transfer_details(
        domain.verdict,
        domain.rows.window,
        task=domain.watch.schema.task,
        settings=domain.watch.settings,
        facts=domain.facts,
        now_us=domain.until_us,
        erosion=domain.erosion,
        pooled=pool_for_display({d.deployment.domain: d.verdict for d in result.domains}).get(
            domain.deployment.domain
        ),
        classes=class_columns(domain.watch.schema),
    )
    return {**verdict_json(domain.verdict), **details}


def replay_gate(domain: DomainReplay) -> Gate:
    """Whether the model should have been let serve, by the end of the log."""
    standing = standing_of(
        domain.facts, domain.verdict, domain.watch.settings.baseline, domain.until_us
    )
    certain = [
        sentence
        for incident in domain.incidents
        if incident.is_open and any(stream.startswith(CERTAIN) for stream in incident.streams)
        for sentence in incident.evidence[:1]
    ]
    return onboarding_gate(domain.verdict, standing, faults=certain)


def headline_of(incident: Incident, domain: DomainReplay) -> str:
    """An incident's headline; ticks of rows have no instant since when it lasts."""
    if domain.watch.settings.tick_rows is None:
        return incident.headline
    return _SINCE.sub("", incident.headline, count=1)


def tick_words(tick_us: int, settings: Settings) -> str:
    """A tick length as people write it: 1 d, 6 h, 50 rows."""
    return f"{settings.tick_rows} rows" if settings.tick_rows else duration_words(tick_us)


def _diagnosis_json(domain: DomainReplay) -> dict[str, Any]:
    incident = domain.leading_incident
    if incident is None:
        return {
            "mode": Mode.NONE.value,
            "confidence": None,
            "runner_up": None,
            "action": {"kind": "none", "scope": "none", "cadence": "none", "falsified_by": ""},
        }
    action = incident.action
    return {
        "mode": incident.mode.value,
        "confidence": finite(incident.confidence),
        "runner_up": None if incident.runner_up is None else incident.runner_up.value,
        "action": {
            "kind": action.kind,
            "scope": action.scope,
            "cadence": action.cadence,
            "falsified_by": action.falsified_by,
        },
    }


def budget_json(domain: DomainReplay, settings: Settings) -> dict[str, Any]:
    """What was allowed, what was spent, and whether the promise holds."""
    period_us = round(settings.budget.period_hours * HOUR_US)
    spent = len(domain.page_incidents)
    periods = (domain.until_us - domain.since_us) / period_us
    by_rows = settings.tick_rows is not None
    return {
        "allowed": settings.budget.pages,
        "period": duration_words(period_us),
        "spent": spent,
        "realised": None if by_rows else round(spent / max(periods, 1e-9), 4),
        "guaranteed": domain.guaranteed,
        "why_not": domain.why_not or None,
        "maturity": domain.progress.feature.bank.maturity.value,
        "tick": tick_words(domain.progress.feature.tick_us, settings),
        "label_tick": tick_words(domain.progress.label.tick_us, settings),
        "detectors": run_lengths(domain.progress.named),
        "streams": streams_summary(followed_streams(domain.progress)),
        "by_day": by_day_json(domain.progress, settings),
    }
