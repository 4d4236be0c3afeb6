"""The transfer verdict of one table, looked at once: no ticks, no time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detectors.records import Design, Settings, Task, TransferVerdict, Window
from detectors.transfer.auc import AucComparison, compare_auc
from detectors.transfer.designs import caveat_of, loss_name
from detectors.transfer.power import minimum_detectable
from detectors.transfer.sums import minority_mask, paired_rows
from detectors.transfer.verdict import (
    NEUTRAL_SHARE,
    ROWS_FACTOR,
    empty_verdict,
    not_monitored,
    word_of,
)
from detectors.transfer.wording import words_for

FEWEST_ROWS = 20
FEWEST_MINORITY = 20
NOTE = "single look, no time axis"


def single_look_verdict(
    window: Window, *, task: Task, settings: Settings, design_effect: float = 1.0
) -> TransferVerdict:
    """A t interval for the mean loss difference of a table, each side at `settings.alpha`.

    `design_effect` divides the rows where they are known to depend on each other; with a
    `cluster` column rows are summed by cluster instead. Weighted rows count by Σω. Below 20 rows
    or 20 labels of the rarer class there is no interval: loss differences of rare labels
    are too skewed for one.
    """
    design = settings.baseline.design or Design.SHADOW
    paired = paired_rows(window, task=task)
    if paired is None:
        return not_monitored(task)
    plain = replace(settings, review_us=None)
    weight = paired.weight
    if not len(weight):
        return replace(empty_verdict(task, plain), method=NOTE)
    total = float(weight.sum())
    mean = float(weight @ paired.difference) / total
    baseline_loss = float(weight @ paired.baseline_loss) / total
    ranked = _ranked(window) if settings.loss == "auc" else None
    if ranked is not None:
        mean, baseline_loss = -ranked.difference, 1.0 - ranked.second
    margin = settings.margin * baseline_loss
    residual = weight * (paired.difference - mean)
    units = len(weight)
    if window.cluster is not None:
        codes = window.cluster.codes[paired.index]
        clusters = np.where(codes < 0, codes.max(initial=0) + 1 + np.arange(units), codes)
        _, member = np.unique(clusters, return_inverse=True)
        residual = np.bincount(member, weights=residual).astype(np.float64)
        units = len(residual)
    spread = float(residual @ residual) * max(design_effect, 1.0)
    freedom = max(units / max(design_effect, 1.0) - 1.0, 0.0)
    minority = int(minority_mask(paired.label, weight, task=task).sum())
    enough = len(weight) >= FEWEST_ROWS and freedom >= 2.0
    if task is not Task.REGRESSION:
        enough = enough and minority >= FEWEST_MINORITY
    ci: tuple[float | None, float | None] = (None, None)
    error: float | None = None
    harm: float | None = None
    if enough:
        from scipy.special import stdtrit

        se = np.sqrt(spread * (1.0 + 1.0 / freedom)) / total
        if ranked is not None:
            se = np.sqrt(ranked.variance * max(design_effect, 1.0))
        half = float(stdtrit(freedom, 1.0 - settings.alpha) * se)
        ci = (mean - half, mean + half)
        error = float(se)
        harm = minimum_detectable(reach=half, se=error, margin=margin)
    state = word_of(*ci, baseline_loss, margin)
    gap = max(abs(mean) - margin, NEUTRAL_SHARE * baseline_loss - abs(mean))
    needed = None
    if state.value == "undetermined" and gap > 0.0:
        by_spread = ROWS_FACTOR * spread / total**2 / gap**2 * len(weight)
        by_labels = FEWEST_MINORITY / max(minority, 1) * len(weight)
        floor = FEWEST_ROWS if task is Task.REGRESSION else max(by_labels, FEWEST_ROWS)
        needed = max(int(np.ceil(max(by_spread, floor) - len(weight))), 1)
    verdict = TransferVerdict(
        state=state,
        loss=loss_name(task, design, None if window.contrast is None else settings),
        difference=mean,
        ci=ci,
        rows=len(weight),
        margin=margin,
        rows_needed=needed,
        method="single look",
        baseline_loss=baseline_loss,
        se=error,
        minimum_detectable=harm,
        design=design,
        caveat=caveat_of(task, design),
    )
    return replace(verdict, words=words_for(verdict, note=NOTE))


def _ranked(window: Window) -> AucComparison | None:
    """DeLong's comparison of the window with itself, or Obuchowski's; None where it cannot be.

    A table looked at once needs no reference to rank its rows among.
    """
    if window.contrast is None or window.score is None or window.label is None:
        return None
    if window.baseline_score is None or window.weight is not None:
        return None
    cluster = None if window.cluster is None else window.cluster.codes.astype(np.int64)
    return compare_auc(window.score, window.baseline_score, window.label, cluster)
