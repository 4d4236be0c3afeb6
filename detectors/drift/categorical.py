"""Compare a column of categories. Vocabularies may differ; work is by value, never by row."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detectors.drift import chi_square, unseen
from detectors.drift.cells import BARS, Bars
from detectors.drift.column import ColumnComparison, Effect, Measured
from detectors.drift.jensen_shannon import jensen_shannon
from detectors.drift.numeric import effective_rows, null_effect, percent
from detectors.drift.psi import psi, psi_noise_floor
from detectors.records import BoolArray, Categories, FloatArray, IntArray, Kind, State

MAX_CELLS = 1000
"""PSI and Jensen-Shannon see this many values, most frequent first, and the rest as one cell."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Weighted rows a value, in the vocabulary of both windows, with nulls beside them."""

    values: FloatArray
    rows: int
    null_share: float | None
    effective: float
    null_effective: float


def measure_categorical(
    name: str,
    reference: Categories,
    current: Categories,
    *,
    weight_reference: FloatArray | None = None,
    weight_current: FloatArray | None = None,
    design_effect: float = 1.0,
) -> Measured:
    """Compare reference (n,) with current (m,); code -1 is null, weights follow the rows."""
    vocabulary, places = joint_vocabulary(reference.values, current.values)
    identity = np.arange(len(reference.values))
    a = _count(reference, identity, len(vocabulary), weight_reference, design_effect)
    b = _count(current, places, len(vocabulary), weight_current, design_effect)
    comparison = ColumnComparison(
        name=name,
        kind=Kind.CATEGORICAL.value,
        state=State.UNDETERMINED,
        null_share=(a.null_share, b.null_share),
        rows=(a.rows, b.rows),
        effective_rows=(a.effective, b.effective),
        design_effect=design_effect,
    )
    if not a.rows or not b.rows:
        return Measured(
            comparison, (), (f"no rows in the {'reference' if not a.rows else 'current window'}",)
        )
    nulls = null_effect(a.null_share, a.null_effective, b.null_share, b.null_effective)
    if not a.effective or not b.effective:
        both = not a.effective and not b.effective
        which = "reference" if not a.effective else "current window"
        remark = "all null in both windows" if both else f"all null in the {which}"
        return Measured(comparison, () if both else (nulls,), (remark,))
    return _measure_values(comparison, a, b, nulls, vocabulary)


def joint_vocabulary(
    reference: tuple[str, ...], current: tuple[str, ...]
) -> tuple[tuple[str, ...], IntArray]:
    """All values of both windows, the reference's first, and where each current value stands."""
    if reference is current or reference == current:
        return reference, np.arange(len(reference))
    index = {value: place for place, value in enumerate(reference)}
    places = np.fromiter(
        (index.setdefault(value, len(index)) for value in current), np.int64, len(current)
    )
    return tuple(index), places


def _count(
    column: Categories,
    places: IntArray,
    cells: int,
    weight: FloatArray | None,
    design_effect: float,
) -> Counts:
    codes = column.codes
    if weight is not None and not (weight > 0).all():
        codes, weight = codes[weight > 0], weight[weight > 0]
    rows = len(codes)
    by_code = np.bincount(codes + 1, weights=weight, minlength=len(column.values) + 1)
    total = float(by_code.sum())
    values: FloatArray = np.bincount(
        places, weights=by_code[1:].astype(float), minlength=cells
    ).astype(float)
    present = codes >= 0 if weight is not None else None
    held = rows - int(by_code[0]) if present is None else int(np.count_nonzero(present))
    kept = weight if weight is None or present is None else weight[present]
    return Counts(
        values=values,
        rows=rows,
        null_share=float(by_code[0]) / total if rows else None,
        effective=effective_rows(held, kept, design_effect),
        null_effective=effective_rows(rows, weight, design_effect),
    )


def _measure_values(
    comparison: ColumnComparison, a: Counts, b: Counts, nulls: Effect, vocabulary: tuple[str, ...]
) -> Measured:
    p, q = a.values / a.values.sum(), b.values / b.values.sum()
    found = chi_square.compare_counts(p * a.effective, q * b.effective)
    new = (a.values == 0) & (b.values > 0)
    largest = int(np.argmax(np.where(new, q, -1.0))) if new.any() else -1
    fresh = unseen.compare_unseen(
        float(q[new].sum()) * b.effective,
        b.effective,
        (float(q[largest]) if largest >= 0 else 0.0) * b.effective,
        singletons=float(np.count_nonzero((a.values > 0) & (a.values <= 1.0))),
        rows_reference=a.effective,
    )
    top = _most_frequent(a.values, MAX_CELLS)
    cells_a, cells_b = _fold(p * a.effective, top), _fold(q * b.effective, top)
    low, high = found.total_variation_ci
    shape = Effect(
        what="the share of rows in other categories",
        estimate=found.total_variation,
        low=low,
        high=high,
        practical=chi_square.PRACTICAL_TV,
        p_value=found.p_value,
        words=_shape_words(found.total_variation, p, q, vocabulary),
    )
    return Measured(
        replace(
            comparison,
            effect=found.total_variation,
            effect_ci=(low, high),
            psi=psi(cells_a, cells_b),
            psi_noise_floor=psi_noise_floor(
                int(np.count_nonzero(cells_a + cells_b)), a.effective, b.effective
            ),
            js=jensen_shannon(p, q),
            cohen_w=found.w,
            p_value=found.p_value,
            unseen_share=min(1.0, fresh.share),
            bins=_bars(p, q, new, vocabulary),
        ),
        (shape, *_unseen_effects(fresh, vocabulary[largest] if largest >= 0 else ""), nulls),
    )


def _unseen_effects(fresh: unseen.Unseen, largest: str) -> tuple[Effect, ...]:
    excess = max(0.0, fresh.share - fresh.expected)
    words = f"{percent(fresh.share)} of rows hold values that the reference never held"
    every = Effect(
        what="the share of rows with unseen values",
        estimate=excess,
        low=max(0.0, fresh.excess_ci[0]),
        high=max(0.0, fresh.excess_ci[1]),
        practical=unseen.PRACTICAL_SHARE,
        p_value=fresh.p_value,
        words=words,
    )
    if not largest:
        return (every,)
    one = Effect(
        what=f"the share of the new value {largest[:60]!r}",
        estimate=fresh.largest,
        low=max(0.0, fresh.largest_ci[0] - fresh.expected),
        high=fresh.largest_ci[1],
        practical=unseen.PRACTICAL_ONE_VALUE,
        p_value=None,
        words=f"new value {largest[:60]!r} in {percent(fresh.largest)} of rows",
    )
    return every, one


def _shape_words(moved: float, p: FloatArray, q: FloatArray, vocabulary: tuple[str, ...]) -> str:
    most = int(np.argmax(np.abs(q - p)))
    return (
        f"{percent(moved)} of rows in other categories, most of all "
        f"{vocabulary[most][:60]!r}: {percent(float(p[most]))} before, "
        f"{percent(float(q[most]))} now"
    )


def _most_frequent(counts: FloatArray, limit: int) -> IntArray:
    if len(counts) <= limit:
        return np.arange(len(counts))
    return np.argpartition(-counts, limit)[:limit].astype(np.int64)


def _fold(counts: FloatArray, kept: IntArray) -> FloatArray:
    """Counts of the kept values, and of all the others together if there are any."""
    if len(kept) == len(counts):
        return counts
    picked = counts[kept]
    return np.append(picked, max(0.0, float(counts.sum() - picked.sum())))


def _bars(
    p: FloatArray,
    q: FloatArray,
    new: BoolArray,
    vocabulary: tuple[str, ...],
) -> Bars:
    """The most frequent values of both windows; the rest of them, and unseen ones, as one each."""
    shown = _most_frequent(p + q, BARS - 2)
    shown = shown[np.argsort(-(p + q)[shown], kind="stable")]
    shown = shown[(p + q)[shown] > 0]
    rest = np.ones(len(p), bool)
    rest[shown] = False
    labels = [vocabulary[place][:80] for place in shown]
    reference = [float(p[place]) for place in shown]
    current = [float(q[place]) for place in shown]
    for label, cells in (("(other)", rest & ~new), ("(unseen)", rest & new)):
        if (p[cells].sum() + q[cells].sum()) > 0:
            labels.append(label)
            reference.append(float(p[cells].sum()))
            current.append(float(q[cells].sum()))
    return Bars(labels=tuple(labels), reference=tuple(reference), current=tuple(current))
