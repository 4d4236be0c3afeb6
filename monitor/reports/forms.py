"""Records as the plain JSON values that contracts show. An infinite bound is null."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np

from alerts.records import Incident
from detectors.records import Diagnosis, Finding, LossChange, TransferVerdict


def verdict_json(verdict: TransferVerdict) -> dict[str, Any]:
    """A transfer verdict as the contracts show it."""
    return {
        "state": verdict.state.value,
        "loss": verdict.loss,
        "difference": finite(verdict.difference),
        "ci": [finite(verdict.ci[0]), finite(verdict.ci[1])],
        "rows": verdict.rows,
        "margin": finite(verdict.margin),
        "bound": finite(verdict.bound),
        "se": finite(verdict.se),
        "minimum_detectable": finite(verdict.minimum_detectable),
        "rows_needed": verdict.rows_needed,
        "baseline_loss": finite(verdict.baseline_loss),
        "method": verdict.method,
        "so_far": verdict.so_far,
        "decided_at": None if verdict.decided_at is None else iso(verdict.decided_at),
        "words": verdict.words,
        "design": verdict.design.value,
        "caveat": verdict.caveat,
        "left_out": verdict.left_out,
        "slices": [{"name": name, **verdict_json(part)} for name, part in verdict.slices],
    }


def diagnosis_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis as the contracts show it."""
    return {
        "mode": diagnosis.mode.value,
        "confidence": finite(diagnosis.confidence),
        "runner_up": None if diagnosis.runner_up is None else diagnosis.runner_up.value,
        "evidence": list(diagnosis.evidence),
        "candidates": [mode.value for mode in diagnosis.candidates],
        "columns": list(diagnosis.columns),
        "loss_change": None if diagnosis.loss is None else loss_change_json(diagnosis.loss),
        "action": {
            "kind": diagnosis.action.kind,
            "scope": diagnosis.action.scope,
            "cadence": diagnosis.action.cadence,
            "falsified_by": diagnosis.action.falsified_by,
        },
    }


def loss_change_json(loss: LossChange) -> dict[str, Any]:
    """Why the mean loss changed: three steps that add up, each with its interval."""
    return {
        "before": finite(loss.before),
        "after": finite(loss.after),
        "drawn_again": loss.unit,
        "terms": [
            {"name": name, "change": finite(change), "ci": [finite(bound) for bound in ci]}
            for name, change, ci in (
                ("harder inputs", loss.inputs, loss.inputs_ci),
                ("concept", loss.concept, loss.concept_ci),
                ("unseen inputs", loss.unseen, loss.unseen_ci),
            )
        ],
        "columns": [{"name": name, "change": finite(change)} for name, change in loss.columns],
    }


def incident_json(incident: Incident) -> dict[str, Any]:
    """An incident as lists, pages and reports show it."""
    return {
        "id": incident.id,
        "model": incident.deployment.model,
        "domain": incident.deployment.domain,
        "mode": incident.mode.value,
        "state": incident.state.value,
        "severity": incident.severity.value,
        "tier": incident.tier.value,
        "headline": incident.headline,
        "opened_at": iso(incident.opened_at),
        "onset": iso(incident.onset),
        "updated_at": iso(incident.updated_at),
        "closed_at": None if incident.closed_at is None else iso(incident.closed_at),
        "alarms": incident.alarms,
        "confidence": finite(incident.confidence),
        "runner_up": None if incident.runner_up is None else incident.runner_up.value,
        "evidence": list(incident.evidence),
        "columns": list(incident.columns),
        "streams": list(incident.streams),
        "action": {
            "kind": incident.action.kind,
            "scope": incident.action.scope,
            "cadence": incident.action.cadence,
            "falsified_by": incident.action.falsified_by,
        },
        "acknowledged_by": incident.acknowledged_by or None,
        "snoozed_until": None if incident.snoozed_until is None else iso(incident.snoozed_until),
        "kind": incident.kind.value,
        "what": incident.what,
        "domains": list(incident.domains),
        "verdict": incident.verdict or None,
        "verdict_by": incident.verdict_by or None,
        "history": [
            {"at": iso(change.at), "what": change.what, "by": change.by, "words": change.words}
            for change in incident.history
        ],
    }


def iso(instant: datetime) -> str:
    """An instant as RFC 3339 with Z."""
    return instant.isoformat().replace("+00:00", "Z")


def finite(value: float | None) -> float | None:
    """The number, or None where there is none or it is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def plain(value: Any) -> Any:
    """The same value with NumPy scalars made plain and numbers that are not finite made null."""
    match value:
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case bool() | None | str() | int():
            return value
        case float():
            return finite(value)
        case np.generic():
            return plain(value.item())
    return str(value)


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as reports and lists show it."""
    return {
        "ts": iso(finding.ts),
        "onset": iso(finding.onset),
        "stream": finding.stream,
        "column": finding.column or None,
        "slice": finding.slice or None,
        "kind": finding.kind,
        "tier": finding.tier.value,
        "evidence": finite(finding.evidence),
        "effect": finite(finding.effect),
        "detail": finding.detail,
    }
