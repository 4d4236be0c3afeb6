"""What a report says beside the verdict: baseline, other losses, erosion, warnings, gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.records import (
    DAY_US,
    Design,
    FloatArray,
    Maturity,
    Settings,
    State,
    Task,
    TransferVerdict,
    Window,
    to_datetime,
)
from detectors.schema.check import TIERS, SchemaCheck
from detectors.transfer.auc import compare_auc
from detectors.transfer.class_losses import (
    CLASS_LOSS,
    CLASS_LOSS_NAME,
    CLASS_LOSSES,
    ClassColumns,
    class_losses,
    class_warnings,
)
from detectors.transfer.designs import arm_trouble
from detectors.transfer.erosion import Erosion
from detectors.transfer.gate import Gate, onboarding_gate
from detectors.transfer.ladder import Ladder, recovery_ladder
from detectors.transfer.losses import losses_for
from detectors.transfer.pooling import Pooled
from detectors.transfer.standing import BaselineFacts, Standing, standing_of
from detectors.transfer.suspicions import suspicions
from monitor.reports.forms import finite, iso

CERTAIN_CHECKS = frozenset(check for check, tier in TIERS.items() if tier.value == "page")
FEWEST_ROWS = 20
Z = 1.96


def gate_of(
    verdict: TransferVerdict,
    standing: Standing,
    *,
    checks: Sequence[SchemaCheck] = (),
    maturity: Maturity | None = None,
    doubts: Sequence[str] = (),
) -> Gate:
    """The onboarding gate of a report; only checks without false alarms refuse."""
    faults = [
        check.detail
        for check in checks
        if check.state is State.DRIFT and check.check in CERTAIN_CHECKS
    ]
    return onboarding_gate(verdict, standing, maturity=maturity, faults=faults, doubts=doubts)


def gate_json(gate: Gate) -> dict[str, Any]:
    return {"state": gate.state.value, "reasons": list(gate.reasons)}


def transfer_details(
    verdict: TransferVerdict,
    current: Window,
    *,
    task: Task,
    settings: Settings,
    facts: BaselineFacts | None,
    now_us: int | None,
    erosion: Erosion | None = None,
    source: Window | None = None,
    pooled: Pooled | None = None,
    classes: ClassColumns | None = None,
) -> tuple[dict[str, Any], Standing]:
    """Fields to add to a report's `transfer`, and the standing of the baseline.

    `classes` says where class probabilities stand, where they are recorded.
    """
    standing = standing_of(facts, verdict, settings.baseline, now_us or 0)
    warnings = list(suspicions(current, task=task, settings=settings, source=source))
    if classes is not None and _compares_classes(settings, classes):
        warnings += class_warnings(current, classes)
    if trouble := arm_trouble(current, settings.baseline):
        warnings.append(trouble)
    return {
        "baseline": None if facts is None else baseline_json(facts, standing, now_us or 0),
        "erosion": erosion_json(erosion),
        "losses": _losses(current, task, classes) if _pairs(settings) else [],
        "auc": _auc(current, task) if _pairs(settings) else None,
        "pooled": pooled_json(pooled),
        "ladder": _ladder(recovery_ladder(current, task=task)) if _pairs(settings) else None,
        "warnings": warnings,
    }, standing


def _ladder(ladder: Ladder | None) -> dict[str, Any] | None:
    """The repairs tried on the first labels, judged on later rows; null where they cannot be."""
    if ladder is None:
        return None
    return {
        "rungs": [
            {"name": rung.name, "loss": rung.loss, "removed": rung.removed, "rows": rung.rows}
            for rung in ladder.rungs
        ],
        "fitted_on": ladder.fitted_on,
        "judged_on": ladder.judged_on,
        "harm": ladder.harm,
        "harm_se": ladder.harm_se,
        "cheapest": ladder.cheapest or None,
        "words": ladder.words,
    }


def _pairs(settings: Settings) -> bool:
    return settings.baseline.design in {None, Design.SHADOW, Design.TRAINED}


def baseline_json(facts: BaselineFacts, standing: Standing, now_us: int) -> dict[str, Any]:
    """A version of a baseline with what is thought of it."""
    age_us = facts.age_us(now_us)
    curve = standing.curve
    return {
        "version": facts.version,
        "source": facts.source,
        "rows": facts.rows,
        "since": None if facts.since_us is None else iso(to_datetime(facts.since_us)),
        "until": None if facts.until_us is None else iso(to_datetime(facts.until_us)),
        "age_days": None if age_us is None else round(age_us / DAY_US, 2),
        "fitness": standing.fitness.value,
        "words": standing.words,
        "curve": None
        if curve is None
        else {
            "floor": curve.floor,
            "scale": curve.scale,
            "exponent": curve.exponent,
            "gain": curve.gain,
            "gain_ci": list(curve.gain_ci),
            "crossing": curve.crossing,
            "crossing_ci": list(curve.crossing_ci),
        },
    }


def erosion_json(erosion: Erosion | None) -> dict[str, Any] | None:
    if erosion is None:
        return None
    return {
        "onboarding": finite(erosion.onboarding),
        "now": finite(erosion.now),
        "change": finite(erosion.change),
        "change_ci": [finite(bound) for bound in erosion.change_ci],
        "eroded": erosion.eroded,
        "words": erosion.words,
    }


def pooled_json(pooled: Pooled | None) -> dict[str, Any] | None:
    if pooled is None:
        return None
    return {"difference": pooled.difference, "domains": pooled.domains, "words": pooled.words}


def _compares_classes(settings: Settings, classes: ClassColumns) -> bool:
    """Whether the verdict is a difference of losses of whole class probabilities, or could be."""
    shadow = settings.baseline.design in {None, Design.SHADOW}
    return settings.loss in CLASS_LOSSES or (shadow and bool(classes.baseline))


def _losses(current: Window, task: Task, classes: ClassColumns | None) -> list[dict[str, Any]]:
    """Both models by every loss, on the window's paired rows taken as independent."""
    lines: list[dict[str, Any] | None] = []
    if classes is not None and classes.baseline:
        for key, loss in CLASS_LOSS.items():
            served, baseline = (
                class_losses(current, loss, classes.classes, columns)
                for columns in (classes.served, classes.baseline)
            )
            lines.append(_compared(CLASS_LOSS_NAME[key], served, baseline))
    if current.score is not None and current.baseline_score is not None:
        label = np.full(current.rows, np.nan) if current.label is None else current.label
        for name, row_loss in losses_for(task).items():
            served, baseline = (
                row_loss(score, label) for score in (current.score, current.baseline_score)
            )
            lines.append(_compared(name, served, baseline))
    return [line for line in lines if line is not None]


def _compared(name: str, served: FloatArray, baseline: FloatArray) -> dict[str, Any] | None:
    """Both models by one loss (n,); None where too few rows have both."""
    known = np.isfinite(served) & np.isfinite(baseline)
    if known.sum() < FEWEST_ROWS:
        return None
    difference = (served - baseline)[known]
    half = Z * float(difference.std(ddof=1) / np.sqrt(len(difference)))
    mean = float(difference.mean())
    return {
        "loss": name,
        "transferred": finite(float(served[known].mean())),
        "baseline": finite(float(baseline[known].mean())),
        "difference": finite(mean),
        "ci": [finite(mean - half), finite(mean + half)],
        "rows": len(difference),
    }


def _auc(current: Window, task: Task) -> dict[str, Any] | None:
    """DeLong on the window, or Obuchowski where rows come in clusters."""
    if task is not Task.BINARY or current.label is None:
        return None
    if current.score is None or current.baseline_score is None:
        return None
    cluster = None if current.cluster is None else current.cluster.codes.astype(np.int64)
    found = compare_auc(current.score, current.baseline_score, current.label, cluster)
    if found is None:
        return None
    low, high = found.interval()
    return {
        "method": "DeLong" if cluster is None else "Obuchowski",
        "transferred": found.first,
        "baseline": found.second,
        "difference": found.difference,
        "ci": [finite(low), finite(high)],
        "p_value": found.p_value,
        "rows": found.rows,
    }
