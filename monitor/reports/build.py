"""The `kedge.report/1` object: one sentence, one state per question, then effects and tests.

`answer` asks every question of two windows; `write_down` makes the object. The daemon passes in
what only time gives: the verdict on cohorts, the budget, incidents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from alerts.mappings import MappingVersion
from alerts.records import Incident
from detectors.alignment.report import EmbeddingReport, embedding_report
from detectors.calibration.report import calibration_of
from detectors.calibration.result import Calibration
from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.drift.column import ColumnComparison
from detectors.drift.compare import (
    compare_columns,
    compare_labels,
    compare_predictions,
    compare_scores,
)
from detectors.drift.design_effect import design_effects
from detectors.drift.embeddings import compare_embeddings
from detectors.estimate.every import Estimates, every_estimate
from detectors.estimate.realised import realised_performance
from detectors.estimate.records import Blindness, Estimate
from detectors.findings.ranking import SILENT
from detectors.maturity.report import LabelMaturity, label_maturity
from detectors.profile import Profile, fit_profile
from detectors.records import (
    HOUR_US,
    BoolArray,
    CalibratedTo,
    Categories,
    Deployment,
    Diagnosis,
    FloatArray,
    Mode,
    Schema,
    Settings,
    State,
    TransferState,
    TransferVerdict,
    Window,
    to_datetime,
)
from detectors.schema import check_schema
from detectors.schema.check import SchemaCheck
from detectors.slices import OTHERS, slice_masks, small_slices
from detectors.transfer.single_look import single_look_verdict
from detectors.transfer.verdict import Trajectory
from monitor.reports.forms import (
    diagnosis_json,
    finite,
    incident_json,
    iso,
    plain,
    verdict_json,
)
from monitor.reports.heads import calibrated_slice, head_json, spread_json
from monitor.reports.maturity import maturity_json
from monitor.reports.verification import held_state, verification_json, with_verification

SCHEMA_NAME = "kedge.report/1"
SINGLE_LOOK = "single look, no time axis"
TIMED_LOOK = "single look; `kedge replay` follows the rows over time"
MOST_DIAGNOSED = 6_000


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """A reference as a report names it."""

    id: str
    role: str
    version: int
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What was found, before it is written down."""

    columns: tuple[ColumnComparison, ...]
    predictions: ColumnComparison | None
    labels: ColumnComparison | None
    calibration: Calibration
    transfer: TransferVerdict
    checks: tuple[SchemaCheck, ...]
    realised: Mapping[str, float | None]
    estimated: Estimates
    maturity: LabelMaturity | None
    diagnosis: Diagnosis
    embedding: EmbeddingReport | None = None
    too_small: str = ""


def answer(
    reference: Window,
    current: Window,
    schema: Schema,
    settings: Settings,
    *,
    transfer: TransferVerdict | None = None,
    diagnosis: Diagnosis | None = None,
    estimate_gaps: FloatArray | None = None,
) -> Answers:
    """Ask every question of two windows. `transfer` and `diagnosis` replace the single look's.

    `estimate_gaps` (c,) are what estimates of mean loss missed in cohorts that have matured.
    """
    effects = design_effects(reference, schema)
    predictions = labels = None
    if reference.score is not None and current.score is not None:
        predictions = compare_scores(reference, current, design_effect=effects)
    elif reference.prediction is not None and current.prediction is not None:
        predictions = compare_predictions(reference, current, design_effect=effects)
    if reference.label is not None and current.label is not None:
        labels = compare_labels(reference, current)
    verdict = transfer or single_look_verdict(current, task=schema.task, settings=settings)
    checks = check_schema(reference, current, schema)
    with ThreadPoolExecutor(1) as beside:
        # Sorting columns lets go of the interpreter while the diagnosis grows its trees.
        comparing = beside.submit(
            compare_columns, reference, current, schema, design_effect=effects
        )
        named = diagnosis or diagnose(
            reference, current, schema, DiagnosisContext(transfer=verdict), checks=checks
        )
        columns = comparing.result()
    if reference.embedding is not None and current.embedding is not None:
        columns = (*columns, compare_embeddings(reference, current))
    embedding = embedding_report(
        reference, current, schema.task, _sliced_twice(reference, current, schema)
    )
    if embedding is not None:
        columns = (*columns, *embedding.columns)
    profile = fit_profile(reference, schema) if schema.slices else None
    calibration = calibration_of(
        current,
        task=schema.task,
        reference=None if settings.calibration is CalibratedTo.OUTCOMES else reference,
        slices={} if profile is None else dict(slice_masks(current, profile)),
        search=_searched(current, schema),
        thin=[] if profile is None else list(small_slices(current, schema.slices, profile.slices)),
        schema=schema,
    )
    return Answers(
        columns=columns,
        predictions=predictions,
        labels=labels,
        calibration=calibration,
        transfer=verdict,
        checks=checks,
        realised=realised_performance(current, task=schema.task),
        maturity=label_maturity(reference, current, schema.task),
        estimated=every_estimate(reference, current, schema, gaps=estimate_gaps),
        diagnosis=named,
        embedding=embedding,
        too_small="" if profile is None else _too_small_words(profile, calibration.thin_asked),
    )


def _too_small_words(profile: Profile, asked: int) -> str:
    count = profile.too_small_count
    if not count:
        return ""
    named = ", ".join(profile.too_small[:3]) + (", …" if count > 3 else "")
    together = [ref.name for ref in profile.slices if OTHERS in ref.values]
    joined = f"; together they are {', '.join(together)}" if together else ""
    looked = f"; {asked:,} were looked at for labels that are off beyond chance" if asked else ""
    return (
        f"{count:,} slice{'s are' if count > 1 else ' is'} undetermined: too few rows in the "
        f"reference to be judged alone ({named}){joined}{looked}"
    )


def _sliced_twice(
    reference: Window, current: Window, schema: Schema
) -> dict[str, tuple[BoolArray, BoolArray]]:
    """The rows of each declared slice in either window."""
    if not schema.slices or reference.embedding is None or current.embedding is None:
        return {}
    profile = fit_profile(reference, replace(schema, embedding_dim=0))
    before, now = dict(slice_masks(reference, profile)), dict(slice_masks(current, profile))
    return {name: (before[name], now[name]) for name in before if name in now}


def _embedding(found: EmbeddingReport | None) -> dict[str, Any] | None:
    if found is None:
        return None
    head = found.head
    return {
        "state": found.state.value,
        "words": found.words,
        "centroids": [
            {
                "name": one.name,
                "state": one.state.value,
                "cosine": one.cosine,
                "ci": list(one.ci),
                "rows": one.rows,
                "rows_needed": one.rows_needed,
            }
            for one in found.centroids
        ],
        "head_gap": None
        if head is None
        else {
            "difference": finite(head.difference),
            "ci": [finite(bound) for bound in head.ci],
            "against": finite(head.against),
            "matters": head.matters,
        },
    }


def _searched(current: Window, schema: Schema) -> dict[str, Categories]:
    """Categorical columns in which slices are looked for that nobody declared."""
    declared = {names[0] for names in schema.slices if len(names) == 1}
    known = {name: current.categorical.get(name) for name in schema.categorical}
    return {name: c for name, c in known.items() if c is not None and name not in declared}


def write_down(
    deployment: Deployment,
    answers: Answers,
    *,
    reference: Window,
    current: Window,
    references: Sequence[ReferenceLine],
    now: datetime,
    budget: Mapping[str, Any],
    incidents: Sequence[Incident] = (),
    path: Trajectory | None = None,
    findings: Sequence[Mapping[str, Any]] = (),
    details: Mapping[str, Any] | None = None,
    gate: Mapping[str, Any] | None = None,
    mappings: Sequence[MappingVersion] = (),
    followed: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The report as plain JSON values; an infinite bound is null and nothing is NaN."""
    verified = verification_json(mappings)
    state = held_state(overall_state(answers), verified)
    report: dict[str, Any] = {
        "schema": SCHEMA_NAME,
        "model": deployment.model,
        "domain": deployment.domain,
        "generated_at": iso(now),
        "window": _window(current),
        "references": [
            {"id": line.id, "role": line.role, "version": line.version, "rows": line.rows}
            for line in references
        ],
        "headline": with_verification(headline(deployment, answers), verified),
        "state": state.value,
        "transfer": verdict_json(answers.transfer),
        "calibration": _calibration(answers.calibration),
        "predictions": _predictions(answers.predictions),
        "verification": verified,
        "inputs": {"state": _inputs_state(answers).value},
        "embedding": _embedding(answers.embedding),
        "columns": [_column(column) for column in answers.columns],
        "labels": _labels(answers.labels, reference, current),
        "schema_checks": [_check(check) for check in answers.checks],
        "performance": {
            "realised": {name: finite(value) for name, value in answers.realised.items()},
            "estimated": {e.metric: _estimate(e) for e in answers.estimated.main},
            "others": [{"metric": e.metric, **_estimate(e)} for e in answers.estimated.others],
            "contradiction": answers.estimated.contradiction or None,
            "blindness": [_blindness(row) for row in answers.estimated.blindness],
        },
        "label_maturity": maturity_json(answers.maturity),
        "diagnosis": diagnosis_json(answers.diagnosis),
        "budget": dict(budget),
        "incidents": [incident_json(incident) for incident in incidents],
        "findings": [dict(finding) for finding in findings],
        "versions": None,
    }
    report["transfer"].update(details or {})
    report["calibration"]["too_small"] = answers.too_small or None
    report["calibration"]["followed"] = [dict(one) for one in followed]
    report["gate"] = None if gate is None else dict(gate)
    report["transfer"]["trajectory"] = [] if path is None else _trajectory(path)
    return plain(report)  # type: ignore[no-any-return]  # a dict in, a dict out


def overall_state(answers: Answers) -> State:
    """The worst answer that is an answer. Undetermined only where nothing at all could be said."""
    if answers.transfer.state is TransferState.HURTS:
        return State.HARM
    states = [answers.calibration.state, _inputs_state(answers), _schema_state(answers.checks)]
    if answers.predictions is not None:
        states.append(answers.predictions.state)
    for state in (State.HARM, State.DRIFT, State.WATCH):
        if state in states:
            return state
    if answers.diagnosis.mode not in SILENT:  # each looks well alone; together they have a cause
        return State.WATCH
    told = [
        s for s in states[:2] + states[3:] if s not in {State.UNDETERMINED, State.NOT_MONITORED}
    ]
    helpful = answers.transfer.state in {TransferState.HELPS, TransferState.NEUTRAL}
    return State.OK if told or helpful else State.UNDETERMINED


def _inputs_state(answers: Answers) -> State:
    """The worst feature column; undetermined if most are."""
    states = [column.state for column in answers.columns]
    if not states:
        return State.NOT_MONITORED
    for state in (State.DRIFT, State.WATCH):
        if state in states:
            return state
    unsure = sum(state is State.UNDETERMINED for state in states)
    return State.UNDETERMINED if unsure > len(states) / 2 else State.OK


def _schema_state(checks: Sequence[SchemaCheck]) -> State:
    states = [check.state for check in checks]
    for state in (State.DRIFT, State.WATCH):
        if state in states:
            return state
    return State.OK


def headline(deployment: Deployment, answers: Answers) -> str:
    """One sentence: transfer where it is known, what is ill, what it means, what to do."""
    said = []
    if answers.transfer.state is not TransferState.NOT_MONITORED:
        said.append(f"transfer {_transfer_words(answers.transfer)}")
    said += _ills(answers)
    if not _ills(answers):
        said.append(_quiet_words(answers))
    mode, action = answers.diagnosis.mode, answers.diagnosis.action
    if mode is Mode.UNDETERMINED:
        said.append("no diagnosis yet")
    elif mode is not Mode.NONE:
        to_do = "" if action.kind == "none" else f"; to do: {action.kind}"
        said.append(f"likely cause: {mode.value}{to_do}")
    if answers.transfer.state is TransferState.NOT_MONITORED:
        said.append("transfer not monitored")
    return f"{deployment}: {'; '.join(said)}."


def _ills(answers: Answers) -> list[str]:
    """What drifted or is to watch, the gravest kind of answer first."""
    ill = {State.DRIFT, State.WATCH}
    said = []
    if answers.calibration.state in ill:
        ratio = answers.calibration.observed_over_expected
        size = "" if ratio is None else f" (observed / expected {ratio:.2f})"
        said.append(f"calibration {_moved(answers.calibration.state)}{size}")
    if answers.predictions is not None and answers.predictions.state in ill:
        said.append(f"predictions {_moved(answers.predictions.state)}")
    gone = list(dict.fromkeys(c.column for c in answers.checks if c.state is State.DRIFT))
    if gone:
        said.append(f"schema fault in {_listed(gone)}")
    for state in (State.DRIFT, State.WATCH):
        moved = [c.name for c in answers.columns if c.state is state]
        if moved:
            total = len(answers.columns)
            noun = "column" if total == 1 else "columns"
            said.append(f"{len(moved)} of {total} {noun} {_moved(state)} ({_listed(moved)})")
            break
    return said


def _quiet_words(answers: Answers) -> str:
    """What to say where nothing is ill: that it is well, or that it is not known."""
    overall = overall_state(answers)
    if overall is State.WATCH:
        return "nothing stands out alone"
    if overall is State.UNDETERMINED or _inputs_state(answers) is State.UNDETERMINED:
        return "nothing found, with too little data to rule it out"
    return "no problem found"


def _moved(state: State) -> str:
    return "drifted" if state is State.DRIFT else "may have drifted"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:60] for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _transfer_words(verdict: TransferVerdict) -> str:
    match verdict.state:
        case TransferState.HELPS | TransferState.HURTS if verdict.difference is not None:
            way = "lower" if verdict.difference < 0 else "higher"
            return (
                f"{verdict.state.value} ({verdict.loss} {abs(verdict.difference):.3g} {way} "
                f"than from scratch, {verdict.rows:,} rows)"
            )
        case _:
            return f"{verdict.state.value} ({verdict.rows:,} rows)"


def _window(current: Window) -> dict[str, Any]:
    ts = current.ts_us
    timed = ts is not None and len(ts) > 0
    labelled = 0 if current.label is None else int((~np.isnan(current.label)).sum())
    return {
        "since": iso(to_datetime(int(ts.min()))) if timed and ts is not None else None,
        "until": iso(to_datetime(int(ts.max()))) if timed and ts is not None else None,
        "rows": current.rows,
        "labelled": labelled,
        "label_delay_hours": _label_delay(current),
    }


def _label_delay(current: Window) -> dict[str, float] | None:
    """How long labels took, median and .95 quantile in hours; None where it is not recorded."""
    if current.ts_us is None or current.label is None or current.label_ts_us is None:
        return None
    known = ~np.isnan(current.label) & (current.label_ts_us < np.iinfo(np.int64).max)
    if not known.any():
        return None
    hours = (current.label_ts_us[known] - current.ts_us[known]) / HOUR_US
    median, late = np.quantile(hours, [0.5, 0.95])
    return {"median": round(float(median), 2), "p95": round(float(late), 2)}


def _calibration(calibration: Calibration) -> dict[str, Any]:
    return {
        "state": calibration.state.value,
        "relative_to": calibration.relative_to,
        "rows": calibration.rows,
        "observed_over_expected": calibration.observed_over_expected,
        "observed_over_expected_ci": list(calibration.observed_over_expected_ci),
        "intercept": calibration.intercept,
        "intercept_ci": list(calibration.intercept_ci),
        "slope": calibration.slope,
        "slope_ci": list(calibration.slope_ci),
        "unit": calibration.unit,
        "p_value": calibration.p_value,
        "ecce": calibration.ecce,
        "ecce_normalised": calibration.ecce_normalised,
        "ecce_p": calibration.ecce_p,
        "ece_debiased": calibration.ece_debiased,
        "ece_ci": list(calibration.ece_ci),
        "spiegelhalter_p": calibration.spiegelhalter_p,
        "minimum_detectable": calibration.minimum_detectable,
        "rows_needed": calibration.rows_needed,
        "words": calibration.words,
        "curve": [
            {
                "score": point.score,
                "observed": point.observed,
                "lower": point.lower,
                "upper": point.upper,
                "reference": point.reference,
                "rows": point.rows,
            }
            for point in calibration.curve
        ],
        "slices": [calibrated_slice(part) for part in calibration.slices],
        "discovered": [calibrated_slice(part) for part in calibration.discovered],
        "heads": [head_json(head) for head in calibration.heads],
        "spread": None if calibration.spread is None else spread_json(calibration.spread),
    }


def _predictions(column: ColumnComparison | None) -> dict[str, Any]:
    if column is None:
        return {"state": State.NOT_MONITORED.value, "detail": "no scores or predictions recorded"}
    return _column(column)


def _labels(
    column: ColumnComparison | None, reference: Window, current: Window
) -> dict[str, Any] | None:
    """How labels compare, with their weighted means (reference, current)."""
    if column is None:
        return None
    return {**_column(column), "mean": [_mean_label(reference), _mean_label(current)]}


def _mean_label(window: Window) -> float | None:
    if window.label is None:
        return None
    known = ~np.isnan(window.label)
    weight = window.weights()[known]
    return float(weight @ window.label[known] / weight.sum()) if known.any() else None


def _column(column: ColumnComparison) -> dict[str, Any]:
    return {
        "name": column.name,
        "kind": column.kind,
        "state": column.state.value,
        "effect": column.effect,
        "effect_ci": list(column.effect_ci),
        "psi": column.psi,
        "psi_noise_floor": column.psi_noise_floor,
        "ks": column.ks,
        "js": column.js,
        "wasserstein": column.wasserstein,
        "cohen_w": column.cohen_w,
        "p_value": column.p_value,
        "null_share": list(column.null_share),
        "unseen_share": column.unseen_share,
        "rows": list(column.rows),
        "design_effect": column.design_effect,
        "detail": column.detail,
        "bins": {
            "labels": list(column.bins.labels),
            "reference": list(column.bins.reference),
            "current": list(column.bins.current),
        },
    }


def _check(check: SchemaCheck) -> dict[str, Any]:
    return {
        "column": check.column,
        "check": check.check,
        "state": check.state.value,
        "detail": check.detail,
        "proposal": check.proposal,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": finite(estimate.value),
        "method": estimate.method,
        "ci": [finite(bound) for bound in estimate.ci],
        "realised": finite(estimate.realised),
        "words": estimate.words,
    }


def _blindness(row: Blindness) -> dict[str, str]:
    return {
        "method": row.method,
        "covariate": row.covariate,
        "label": row.label,
        "concept": row.concept,
        "schema": row.schema,
        "words": row.words,
    }


def _trajectory(path: Trajectory) -> list[dict[str, Any]]:
    """The transfer difference after every tick, at most some 400 points."""
    step = max(1, len(path.mean) // 400)
    keep = sorted({*range(0, len(path.mean), step), len(path.mean) - 1}) if len(path.mean) else []
    return [
        {
            "ts": iso(to_datetime(int(path.ts_us[at]))),
            "difference": finite(float(path.mean[at])),
            "lower": finite(float(path.lower[at])),
            "upper": finite(float(path.upper[at])),
        }
        for at in keep
    ]


def single_look_budget(settings: Settings, *, timed: bool = False) -> dict[str, Any]:
    """What a report from two files can say of the budget: nothing was promised.

    `timed` says that the rows have times; they are still looked at once.
    """
    from monitor.durations import duration_words

    return {
        "allowed": settings.budget.pages,
        "period": duration_words(round(settings.budget.period_hours * 3_600_000_000)),
        "spent": 0,
        "realised": None,
        "guaranteed": False,
        "why_not": TIMED_LOOK if timed else SINGLE_LOOK,
    }
