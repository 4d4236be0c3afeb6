"""Transfer verdicts per slice: helped on the whole may still be hurt in one corner.

Asking S slices costs error. A *find* splits .025 per side over the slices in proportion to the
root of their reference rows, so each slice is read at its own, stricter level; it may be acted
on. In a report that people reread, e-BH keeps the expected share of wrong slices at .05.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from detectors.multiple import e_benjamini_hochberg
from detectors.records import Settings, Task, TransferState, TransferVerdict
from detectors.transfer.dependence import long_run_factors
from detectors.transfer.interval import tick_t_log_e
from detectors.transfer.merging import merge_ticks
from detectors.transfer.sums import TransferSums
from detectors.transfer.verdict import transfer_verdict
from detectors.transfer.wording import words_for

FIND_ALPHA = 0.025
REPORT_RATE = 0.05


def find_levels(reference_rows: Mapping[str, float]) -> dict[str, float]:
    """Error per side of each slice: .025 split ∝ √(reference rows), at least one row each.

    A slice whose interval at this level leaves the margin has ln E >= ln(40 Σ√n / √n_s).
    """
    roots = {name: float(np.sqrt(max(rows, 1.0))) for name, rows in reference_rows.items()}
    total = sum(roots.values())
    return {name: FIND_ALPHA * root / total for name, root in roots.items()}


def slice_verdicts(
    overall: TransferVerdict,
    slices: Mapping[str, TransferSums],
    reference_rows: Mapping[str, float],
    *,
    task: Task,
    settings: Settings,
    ended: bool = False,
    minority_rates: Mapping[str, float] | None = None,
    rule: Literal["find", "report"] = "find",
) -> tuple[tuple[str, TransferVerdict], ...]:
    """One verdict a slice, worst difference first. `reference_rows` missing a slice reads 1.

    rule "find": state and interval at the slice's own level. rule "report": helps and hurts are
    those e-BH keeps at .05, intervals are at `settings.alpha`. Slices are always read with the
    anytime-valid interval; a planned review is for the deployment as a whole.
    """
    if not slices:
        return ()
    open_ended = replace(settings, review_us=None)
    levels = find_levels({name: reference_rows.get(name, 1.0) for name in slices})
    rates = minority_rates or {}
    verdicts = {
        name: transfer_verdict(
            sums,
            task=task,
            settings=open_ended,
            ended=ended,
            minority_rate=rates.get(name),
            alpha=levels[name] if rule == "find" else None,
            scope=name,
        )
        for name, sums in slices.items()
    }
    if rule == "find":
        verdicts = {
            name: replace(verdict, suspect=_is_suspect(verdict, slices[name], task, open_ended))
            for name, verdict in verdicts.items()
        }
    if rule == "report":
        verdicts = _kept_by_e_bh(verdicts, slices, task, ended, rates)
    named = [(name, _reversal(name, verdict, overall)) for name, verdict in verdicts.items()]
    return tuple(sorted(named, key=lambda pair: -(pair[1].difference or 0.0)))


def _is_suspect(
    verdict: TransferVerdict, sums: TransferSums, task: Task, settings: Settings
) -> bool:
    """Whether the interval at one slice's own error, uncorrected for the others, says hurts."""
    above = verdict.difference is not None and verdict.difference > (verdict.margin or 0.0)
    if verdict.state is TransferState.HURTS or not above:
        return False
    alone = transfer_verdict(sums, task=task, settings=settings, ended=False)
    return alone.state is TransferState.HURTS


def _kept_by_e_bh(
    verdicts: Mapping[str, TransferVerdict],
    slices: Mapping[str, TransferSums],
    task: Task,
    ended: bool,
    rates: Mapping[str, float],
) -> dict[str, TransferVerdict]:
    names = list(verdicts)
    evidence = np.full((2, len(names)), -np.inf)
    for column, name in enumerate(names):
        margin = verdicts[name].margin
        if margin is None:
            continue
        merged = merge_ticks(slices[name], task=task, minority_rate=rates.get(name), ended=ended)
        if not len(merged.factor):
            continue
        run = merged.doubled(int(merged.factor[-1]))
        means = run.difference / run.rows
        factors = long_run_factors(means)
        centre = float(run.difference.sum() / run.rows.sum())
        for row, (sign, side) in enumerate(((1.0, margin), (-1.0, -margin))):
            if sign * (centre - side) > 0.0:
                evidence[row, column] = tick_t_log_e(means, run.rows, side, factors=factors)[-1]
    hurts = e_benjamini_hochberg(evidence[0], REPORT_RATE)
    helps = e_benjamini_hochberg(evidence[1], REPORT_RATE)
    kept: dict[str, TransferVerdict] = {}
    for column, name in enumerate(names):
        verdict = verdicts[name]
        state = verdict.state
        if hurts[column]:
            state = TransferState.HURTS
        elif helps[column]:
            state = TransferState.HELPS
        elif state in (TransferState.HURTS, TransferState.HELPS):
            state = TransferState.UNDETERMINED
        if state is not verdict.state:
            said = verdict.decided_at if state is TransferState.NEUTRAL else None
            verdict = replace(verdict, state=state, decided_at=said)
            verdict = replace(verdict, words=words_for(verdict, scope=name))
        kept[name] = verdict
    return kept


def _reversal(name: str, verdict: TransferVerdict, overall: TransferVerdict) -> TransferVerdict:
    opposite = {
        TransferState.HELPS: TransferState.HURTS,
        TransferState.HURTS: TransferState.HELPS,
    }
    if opposite.get(overall.state) is not verdict.state:
        return verdict
    note = f"the opposite of the verdict over all rows, which is {overall.state.value}"
    return replace(verdict, words=words_for(verdict, scope=name, note=note))
