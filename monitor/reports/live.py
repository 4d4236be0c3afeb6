"""The report of a deployment that is being watched: what only time gives, added to two windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from alerts.feedback import judged
from alerts.records import Incident, IncidentKind
from detectors.actions import action_for
from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.findings.ranking import SILENT
from detectors.mappings.translate import translated
from detectors.records import (
    DAY_US,
    HOUR_US,
    Deployment,
    Diagnosis,
    Maturity,
    Mode,
    State,
    Tier,
    TransferState,
    TransferVerdict,
    to_datetime,
)
from detectors.summary import transfer_sums
from detectors.transfer.class_losses import baseline_columns, class_columns
from detectors.transfer.erosion import erosion_of
from detectors.transfer.pooling import Pooled, pool_for_display
from detectors.transfer.verdict import trajectory
from monitor.baseline.baselines import RecordedScorer, facts_of, signature_warnings
from monitor.durations import duration_words
from monitor.errors import InputError, did_you_mean, shortened
from monitor.reports.build import ReferenceLine, answer, overall_state, write_down
from monitor.reports.forms import finding_json, plain
from monitor.reports.transfer import gate_json, gate_of, transfer_details
from monitor.reports.verification import verification_json
from monitor.rows.named_classes import with_true_classes
from monitor.rows.stored import ModelRows, StoredRows
from monitor.rows.translated import in_source_terms
from monitor.watching.alignment import facts_json
from monitor.watching.judgement import current_verdict, spends_budget
from monitor.watching.label_watch import past_gaps
from monitor.watching.runner import Runner
from monitor.watching.verdict_versions import revised_days, with_version
from monitor.watching.watch import mean_loss, onboarding_level
from storage.baselines import baselines_of
from storage.deployments import DeploymentState, get_deployment, list_deployments
from storage.findings import list_findings
from storage.inbox import read_window
from storage.incidents import list_incidents
from storage.mappings import mappings_of
from storage.references import ReferenceStatus, Role, list_references, load_reference_rows

DEFAULT_DAYS = 7.0
SHOWN_INCIDENTS = 20
ILL = frozenset({State.HARM, State.DRIFT})
SHOWN_FINDINGS = 50
SHOWN_CANDIDATES = 3
SOURCE_ROWS = 6_000


def live_report(
    runner: Runner, deployment: Deployment, *, days: float | None, now: datetime
) -> dict[str, Any]:
    """The `kedge.report/1` object over the last `days` of event time, late rows included.

    Raises:
        InputError: if the deployment is unknown, or too little has come to say anything.
    """
    database = runner.database
    with database.read() as session:
        state = get_deployment(session, deployment)
        known_states = list_deployments(session, deployment.model)
        known = [s.deployment.domain for s in known_states]
    if state is None or state.last_event_us is None or state.first_event_us is None:
        msg = (
            f"no domain '{deployment.domain}' of model '{deployment.model}'; there is "
            f"{shortened(known) or 'none yet'}.{did_you_mean(deployment.domain, known)}"
        )
        raise InputError(msg)
    viewed = runner.view(state)
    if viewed is None:
        msg = (
            f"{deployment} has no reference and under two days of rows; add one with "
            "`kedge reference add`, or wait"
        )
        raise InputError(msg)
    watch, reference, cohorts = viewed
    until_us = state.last_event_us + 1
    since_us = max(state.first_event_us, until_us - round((days or DEFAULT_DAYS) * DAY_US))
    with database.read() as session:
        current = read_window(
            session, deployment, since_us, until_us, include_late=True, corrected=True
        )
        incidents = list_incidents(
            session,
            model=deployment.model,
            domain=deployment.domain,
            kinds=[IncidentKind.DRIFT],
            limit=200,
        )
        findings = list_findings(session, deployment, limit=SHOWN_FINDINGS)
        references = list_references(session, deployment.model)
        mappings = mappings_of(session, deployment)
    current = with_true_classes(translated(current, watch.mappings), watch.schema.classes)
    plan, source = watch.settings.baseline, None
    with database.read() as session:
        registered = baselines_of(session, deployment)
        versions = facts_of(registered, plan)
        role_source = [r for r in references if r.role is Role.SOURCE]
        if watch.schema.has_baseline and role_source:
            source = load_reference_rows(session, role_source[-1].id, max_rows=SOURCE_ROWS)
    centre = mean_loss(reference, watch.schema)
    columns = baseline_columns(watch.schema)
    scorer = RecordedScorer(plan, watch.schema.task, centre, versions, watch.loss, columns)
    current, _ = scorer.comparable(current)
    status = state.status or {}
    left_out = int(status.get("left_out", 0))
    issued = status.get("verdict_versions", [])
    if issued and issued[-1]["late"]:
        stored = StoredRows(database, deployment, ModelRows(database, deployment.model))
        rows = in_source_terms(stored, watch.mappings, watch.schema.classes)
        cohorts = revised_days(watch, cohorts, rows, scorer, issued)
    verdict = current_verdict(watch, cohorts, ended=False, scorer=scorer, left_out=left_out)
    verdict = with_version(verdict, issued)
    rate = watch.profile.label_rate
    path = eroded = None
    if watch.schema.has_baseline and cohorts:
        sums = transfer_sums(cohorts, label_rate=rate)
        minority = None if rate is None else min(rate, 1.0 - rate)
        eroded = erosion_of(sums, onboarding=onboarding_level(watch))
        path = trajectory(sums, task=watch.schema.task, minority_rate=minority)
    answers = answer(
        reference,
        current,
        watch.schema,
        watch.settings,
        transfer=verdict,
        diagnosis=standing_diagnosis(incidents, verdict),
        estimate_gaps=np.concatenate([past_gaps(watch, part) for part in (reference, current)]),
    )
    working = any(incident.is_open for incident in incidents)
    if working or overall_state(answers) in ILL:
        context = DiagnosisContext(transfer=verdict)
        looked = diagnose(reference, current, watch.schema, context, checks=answers.checks)
        # What people are working on keeps its name; the window says what else there is, and why.
        answers = replace(
            answers, diagnosis=beside(answers.diagnosis, looked) if working else looked
        )
    details, standing = transfer_details(
        verdict,
        current,
        task=watch.schema.task,
        settings=watch.settings,
        facts=scorer.facts,
        now_us=cohorts[-1].end_us if cohorts else state.last_event_us,
        erosion=eroded,
        source=source,
        pooled=_pooled(known_states, deployment),
        classes=class_columns(watch.schema),
    )
    details["warnings"] += signature_warnings(registered)
    details["version"] = int(issued[-1]["version"]) if issued else None
    details["versions"] = [dict(version) for version in issued]
    verified = verification_json(mappings)
    doubts = [verified["words"]] if verified["state"] == "unverified" else []
    maturity = Maturity(status.get("maturity", Maturity.WARMING.value))
    report = write_down(
        deployment,
        answers,
        reference=reference,
        current=current,
        references=[
            ReferenceLine(str(r.id), r.role.value, r.version, r.rows)
            for r in references
            if r.status is ReferenceStatus.ACTIVE and r.domain in {None, deployment.domain}
        ],
        now=now,
        budget=budget_of(state, incidents, runner),
        incidents=incidents[:SHOWN_INCIDENTS],
        path=path,
        findings=[finding_json(finding) for finding in findings],
        details=details,
        gate=gate_json(
            gate_of(verdict, standing, checks=answers.checks, maturity=maturity, doubts=doubts)
        ),
        mappings=mappings,
        followed=status.get("found_slices", []),
    )
    return {**report, "versions": plain(facts_json(watch.versions))}


def _pooled(states: Sequence[DeploymentState], deployment: Deployment) -> Pooled | None:
    """This domain's difference drawn towards the other domains of its model, if it is small."""
    told = {s.deployment.domain: (s.status or {}).get("transfer") for s in states}
    verdicts = {
        name: TransferVerdict(
            TransferState(line["state"]),
            line["loss"],
            line["difference"],
            (None, None),
            line["rows"],
            line["margin"],
            se=line.get("se"),
        )
        for name, line in told.items()
        if line is not None
    }
    return pool_for_display(verdicts).get(deployment.domain)


def standing_diagnosis(incidents: Sequence[Incident], verdict: TransferVerdict) -> Diagnosis:
    """The diagnosis people are working on: of the open incident that weighs most, else none."""
    standing = [incident for incident in incidents if incident.is_open]
    if not standing:
        return Diagnosis(
            mode=Mode.NONE,
            confidence=1.0,
            runner_up=None,
            evidence=(verdict.words,) if verdict.words else (),
            action=action_for(Mode.NONE),
        )
    first = max(
        standing,
        key=lambda i: (
            i.tier is Tier.PAGE,
            i.mode is not Mode.UNDETERMINED,
            i.severity.rank,
            i.updated_at,
        ),
    )
    return Diagnosis(
        mode=first.mode,
        confidence=first.confidence,
        runner_up=first.runner_up,
        evidence=first.evidence,
        action=first.action,
        columns=first.columns,
    )


def beside(standing: Diagnosis, looked: Diagnosis) -> Diagnosis:
    """An open incident's diagnosis with the further candidates and the loss of a fresh look."""
    if looked.mode in SILENT:
        return replace(standing, loss=looked.loss)
    others = [mode for mode in (looked.mode, *looked.candidates) if mode is not standing.mode]
    return replace(
        standing,
        candidates=(standing.mode, *dict.fromkeys(others))[:SHOWN_CANDIDATES],
        loss=looked.loss,
    )


def budget_of(
    state: DeploymentState, incidents: Sequence[Incident], runner: Runner
) -> dict[str, Any]:
    """Pages spent on budgeted evidence in the last period, and the rate since the start."""
    budget = runner.settings_of(state.deployment.model).budget
    status = state.status or {}
    paging = [incident for incident in incidents if spends_budget(incident)]
    people = judged(paging)
    until_us = state.evaluated_until_us or state.last_event_us or 0
    first_us = status.get("first_live_us") or state.first_event_us or until_us
    period = timedelta(hours=budget.period_hours)
    since = to_datetime(until_us) - period
    periods = (until_us - first_us) / (budget.period_hours * HOUR_US)
    return {
        "allowed": budget.pages,
        "period": duration_words(round(budget.period_hours * HOUR_US)),
        "spent": sum(incident.opened_at > since for incident in paging),
        "spent_since_start": len(paging),
        "realised": round(len(paging) / periods, 4) if periods > 0 else None,
        "judged": people.judged,
        "called_false": people.false,
        "realised_false": round(people.false / periods, 4) if periods > 0 else None,
        "feedback": people.words() or None,
        "guaranteed": bool(status.get("guaranteed", False)),
        "why_not": status.get("why_not") or (None if status else "not evaluated yet"),
        "maturity": status.get("maturity", "warming"),
        "detectors": status.get("detectors", []),
        "streams": status.get("streams"),
        "by_day": status.get("by_day", {}),
    }
