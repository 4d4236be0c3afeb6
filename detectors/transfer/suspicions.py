"""Baseline scores that cannot be what they are said to be."""

from __future__ import annotations

import numpy as np

from detectors.records import (
    HOUR_US,
    FloatArray,
    Settings,
    Task,
    TransferState,
    Window,
)
from detectors.transfer.single_look import single_look_verdict

FEWEST_ROWS = 200
FEWEST_PAIRED = 20
FEW_PAIRS = 0.5
"""Of the rows with a baseline score: below this the two were scored on other rows."""
SAME_SHARE = 0.99
CHANCE_Z = 3.0
CLEAR = 0.15
"""A correlation of the served score with the label that a working model has at least."""


def suspicions(
    window: Window, *, task: Task, settings: Settings, source: Window | None = None
) -> tuple[str, ...]:
    """Sentences about a window's baseline scores that somebody should read; () if none.

    `source` holds rows of the source domain, where the transferred model was at home: a baseline
    that is better there has probably been written into the other column.
    """
    said: list[str] = []
    said += _versions(window)
    if window.baseline_score is None or window.score is None:
        return tuple(said)
    served, compared = np.isfinite(window.score), np.isfinite(window.baseline_score)
    both = served & compared
    if compared.sum() >= FEWEST_PAIRED and both.sum() < FEW_PAIRS * compared.sum():
        said.append(
            f"{int(compared.sum()):,} rows have a baseline score and {int(served.sum()):,} a "
            f"transferred one, and only {int(both.sum()):,} have both: only these are compared"
        )
    score, baseline = window.score[both], window.baseline_score[both]
    if len(score) >= FEWEST_ROWS:
        if np.mean(score == baseline) >= SAME_SHARE:
            said.append(
                "the baseline scores equal the transferred model's: the same column sent twice?"
            )
        elif window.label is not None and _of_other_rows(score, baseline, window.label[both]):
            said.append(
                "the baseline scores follow neither the labels nor the transferred scores: were "
                "they joined to other rows?"
            )
    if source is not None and source.baseline_score is not None:
        verdict = single_look_verdict(source, task=task, settings=settings)
        if verdict.state is TransferState.HURTS:
            said.append(
                "on the source domain's own rows the baseline is better than the transferred "
                "model: are the two score columns swapped?"
            )
    return tuple(said)


def _of_other_rows(score: FloatArray, baseline: FloatArray, label: FloatArray) -> bool:
    known = np.isfinite(label)
    if known.sum() < FEWEST_ROWS:
        return False
    chance = CHANCE_Z / np.sqrt(known.sum())
    served = _correlation(score[known], label[known])
    return bool(
        served > max(CLEAR, chance)
        and abs(_correlation(baseline[known], label[known])) < chance
        and abs(_correlation(baseline[known], score[known])) < chance
    )


def _correlation(x: FloatArray, y: FloatArray) -> float:
    dx, dy = x - x.mean(), y - y.mean()
    scale = np.sqrt(float(dx @ dx) * float(dy @ dy))
    return float(dx @ dy) / scale if scale > 0.0 else 1.0


def _versions(window: Window) -> list[str]:
    """Two versions inside one hour: each row counts for the version that scored it."""
    if window.version is None or window.ts_us is None or not window.rows:
        return []
    known = window.version.codes >= 0
    pairs = np.unique(
        np.column_stack([window.ts_us[known] // HOUR_US, window.version.codes[known]]), axis=0
    )
    hours, counts = np.unique(pairs[:, 0], return_counts=True)
    mixed = int((counts > 1).sum())
    if not mixed:
        return []
    words = (
        f"several model versions served in {mixed:,} of {len(hours):,} hours; the verdict is of "
        "them together, each row as it was scored"
    )
    return [words]
