"""Compare a column of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from detectors.drift import ks, proportion, wasserstein
from detectors.drift.cells import bars_of, counts_between, equal_mass_edges
from detectors.drift.column import ColumnComparison, Effect, Measured
from detectors.drift.jensen_shannon import jensen_shannon
from detectors.drift.psi import psi, psi_noise_floor
from detectors.drift.sweep import sweep
from detectors.records import FloatArray, Kind, State

LARGEST = 1e300
"""Numbers beyond it count as infinite: their differences would overflow."""

EXACT_ROWS = 5_000_000
"""Up to this many rows a window is sorted as it is; beyond, it is first counted in 4,096 cells."""

BINNED_CELLS = 4096


_DIFFERS = 0.05
"""p-value below which two samples are not of one distribution: that of a 95 % interval."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The values of a column in one window, sorted, nulls taken out.

    `rows` counts all rows, `effective` what the values are worth in independent rows (Kish 1965,
    over the design effect), `null_effective` the same for all rows, nulls included.
    """

    ordered: FloatArray
    weight: FloatArray | None
    rows: int
    null_share: float | None
    effective: float
    null_effective: float
    infinite: int


def measure_numeric(
    name: str,
    reference: FloatArray,
    current: FloatArray,
    *,
    weight_reference: FloatArray | None = None,
    weight_current: FloatArray | None = None,
    design_effect: float = 1.0,
    exact_rows: int = EXACT_ROWS,
) -> Measured:
    """Compare reference (n,) with current (m,); NaN is null, weights follow the rows.

    Infinite values stand at the end they point to: they count for every share and every distance
    between shares, and for Wasserstein as the largest finite value.
    """
    a = sample_of(reference, weight_reference, design_effect)
    b = sample_of(current, weight_current, design_effect)
    comparison = ColumnComparison(
        name=name,
        kind=Kind.NUMERIC.value,
        state=State.UNDETERMINED,
        null_share=(a.null_share, b.null_share),
        rows=(a.rows, b.rows),
        effective_rows=(a.effective, b.effective),
        design_effect=design_effect,
    )
    remarks = tuple(
        f"{sample.infinite:,} infinite values in the {window} window"
        for sample, window in ((a, "reference"), (b, "current"))
        if sample.infinite
    )
    if not a.rows or not b.rows:
        which = "reference" if not a.rows else "current window"
        return Measured(comparison, (), (f"no rows in the {which}", *remarks))
    nulls = null_effect(a.null_share, a.null_effective, b.null_share, b.null_effective)
    if not len(a.ordered) or not len(b.ordered):
        which = "reference" if not len(a.ordered) else "current window"
        both = not len(a.ordered) and not len(b.ordered)
        remark = "all null in both windows" if both else f"all null in the {which}"
        return Measured(comparison, () if both else (nulls,), (remark, *remarks))
    return _measure_values(comparison, a, b, nulls, remarks, exact_rows)


def _measure_values(
    comparison: ColumnComparison,
    a: Sample,
    b: Sample,
    nulls: Effect,
    remarks: tuple[str, ...],
    exact_rows: int,
) -> Measured:
    a_values, a_weight, b_values, b_weight = a.ordered, a.weight, b.ordered, b.weight
    sd = standard_deviation(a_values, a_weight)
    edges = equal_mass_edges(a_values)
    cells_a = counts_between(a_values, edges, a_weight)
    cells_b = counts_between(b_values, edges, b_weight)
    bars = bars_of(a_values, b_values, weight_reference=a_weight, weight_current=b_weight)
    if max(len(a_values), len(b_values)) > exact_rows:
        remarks = (f"distances from {BINNED_CELLS:,} cells", *remarks)
        grid = equal_mass_edges(a_values, BINNED_CELLS)
        a_values, a_weight, b_values, b_weight = _binned(grid, a, b)
    found = sweep(
        a_values, b_values, weight_a=a_weight, weight_b=b_weight, scale=sd if sd > 0 else 1.0
    )
    p_value = ks.ks_p_value(found.ks, a.effective, b.effective)
    low, high = ks.ks_interval(found.ks, a.effective, b.effective)
    effects = [
        Effect(
            what="the largest gap between the distributions",
            estimate=found.ks,
            low=low,
            high=high,
            practical=ks.PRACTICAL,
            p_value=p_value,
            words=f"{100 * found.ks:.1f} % of rows lie elsewhere "
            f"({100 * low:.1f} to {100 * high:.1f} %)",
        )
    ]
    moved = None
    if sd > 0 and math.isfinite(found.wasserstein):
        moved = found.wasserstein
        near, far = wasserstein.wasserstein_interval(found, a.effective, b.effective)
        # Its lower end holds only where the distributions differ, and a distance between samples
        # of one distribution is never zero: whether they differ at all, the other test says.
        near = near if p_value < _DIFFERS else 0.0
        if math.isfinite(far):
            effects.append(
                Effect(
                    what="the distance moved, in standard deviations,",
                    estimate=moved,
                    low=near,
                    high=far,
                    practical=wasserstein.PRACTICAL_SD,
                    p_value=None,
                    words=f"values moved by {moved:.2g} reference standard deviations",
                )
            )
    psi_a = cells_a * (a.effective / cells_a.sum())
    psi_b = cells_b * (b.effective / cells_b.sum())
    return Measured(
        replace(
            comparison,
            effect=found.ks,
            effect_ci=(low, high),
            psi=psi(psi_a, psi_b),
            psi_noise_floor=psi_noise_floor(len(psi_a), a.effective, b.effective),
            ks=found.ks,
            js=jensen_shannon(psi_a, psi_b),
            wasserstein=moved,
            p_value=p_value,
            bins=bars,
        ),
        (*effects, nulls),
        remarks,
    )


def sample_of(column: FloatArray, weight: FloatArray | None, design_effect: float) -> Sample:
    """Sort a column (n,), with nulls and rows of no weight left out."""
    if weight is not None and not (weight > 0).all():
        column, weight = column[weight > 0], weight[weight > 0]
    rows = len(column)
    null = np.isnan(column)
    nulls = int(np.count_nonzero(null))
    ordered = column[~null] if nulls else np.array(column, dtype=float)
    kept = weight
    if weight is None:
        ordered.sort()
        null_share = nulls / rows if rows else None
    else:
        null_share = float(weight[null].sum() / weight.sum()) if rows else None
        kept = weight[~null] if nulls else weight
        order = np.argsort(ordered, kind="stable")
        ordered, kept = ordered[order], kept[order]
    infinite = 0
    if len(ordered) and not (ordered[0] >= -LARGEST and ordered[-1] <= LARGEST):
        ordered, infinite = _ends_made_finite(ordered)
    return Sample(
        ordered=ordered,
        weight=kept,
        rows=rows,
        null_share=null_share,
        effective=effective_rows(len(ordered), kept, design_effect),
        null_effective=effective_rows(rows, weight, design_effect),
        infinite=infinite,
    )


def effective_rows(rows: int, weight: FloatArray | None, design_effect: float) -> float:
    """Kish's effective sample size, over the design effect, and never below one row."""
    if not rows:
        return 0.0
    kish = float(rows) if weight is None else float(weight.sum() ** 2 / np.square(weight).sum())
    return max(1.0, kish / max(design_effect, 1.0))


def standard_deviation(ordered: FloatArray, weight: FloatArray | None) -> float:
    """Population sd of a sorted finite sample; scaled first, so that 1e200 does not overflow."""
    size = max(abs(float(ordered[0])), abs(float(ordered[-1])))
    if size == 0.0 or ordered[0] == ordered[-1]:
        return 0.0
    scaled = ordered if size < 1e100 else ordered / size
    if weight is None:
        sd = float(np.std(scaled))
    else:
        mean = np.average(scaled, weights=weight)
        sd = math.sqrt(float(np.average(np.square(scaled - mean), weights=weight)))
    sd = sd if size < 1e100 else sd * size
    return sd if math.isfinite(sd) else 0.0


def null_effect(
    reference: float | None, rows_reference: float, current: float | None, rows_current: float
) -> Effect:
    """How the share of nulls moved, in the terms that `Effect.judge` wants."""
    before, after = reference or 0.0, current or 0.0
    change = proportion.compare_shares(
        before * rows_reference, rows_reference, after * rows_current, rows_current
    )
    low, high = _size_of(change.difference_ci)
    odds_low, odds_high = _size_of(change.log_odds_ci)
    practical = proportion.PRACTICAL_DIFFERENCE
    if odds_high < proportion.PRACTICAL_LOG_ODDS:
        high = min(high, practical * odds_high / proportion.PRACTICAL_LOG_ODDS)
    if odds_low < proportion.PRACTICAL_LOG_ODDS:
        low = min(low, practical)
    estimate = abs(change.difference)
    if abs(change.log_odds) < proportion.PRACTICAL_LOG_ODDS:
        estimate = min(estimate, practical)
    return Effect(
        what="the change of the share of nulls",
        estimate=estimate,
        low=low,
        high=high,
        practical=practical,
        p_value=change.p_value,
        words=f"nulls {percent(before)} before, {percent(after)} now",
    )


def percent(share: float) -> str:
    """A share for people: three digits while small, whole percent when not."""
    return f"{100 * share:.3g} %"


def _size_of(interval: tuple[float, float]) -> tuple[float, float]:
    """The interval of |x| from that of x."""
    low, high = interval
    if low <= 0 <= high:
        return 0.0, max(-low, high)
    return min(abs(low), abs(high)), max(abs(low), abs(high))


def _ends_made_finite(ordered: FloatArray) -> tuple[FloatArray, int]:
    finite = ordered[np.abs(ordered) <= LARGEST]
    low, high = (finite[0], finite[-1]) if len(finite) else (-1.0, 1.0)
    return np.clip(ordered, low, high), len(ordered) - len(finite)


def _binned(
    edges: FloatArray, a: Sample, b: Sample
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Both samples as weighted points: each cell stands at its upper edge, the last at the end."""
    top = max(a.ordered[-1], b.ordered[-1], np.nextafter(edges[-1], np.finfo(np.float64).max))
    points = np.append(edges, top)
    counts_a = counts_between(a.ordered, edges, a.weight)
    counts_b = counts_between(b.ordered, edges, b.weight)
    return points, counts_a, points, counts_b
