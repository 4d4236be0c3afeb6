"""The calibration answer of a report: one state, effect sizes with intervals, a sentence.

Against a labelled reference everything is relative to the reference's own recalibration curve:
a model that was a little off when it was accepted is judged for what has changed since. The
error of that curve is part of every interval. Absolute numbers stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from detectors.calibration.bins import equal_mass_bins
from detectors.calibration.cox import cox_line
from detectors.calibration.ecce import ecce, largest_walk_p
from detectors.calibration.ece import ece_debiased, ece_interval
from detectors.calibration.in_the_large import InTheLarge, in_the_large
from detectors.calibration.line import calibration_of_values
from detectors.calibration.recalibration import Recalibration, fit_recalibration
from detectors.calibration.reference_noise import ReferenceNoise, reference_noise
from detectors.calibration.result import (
    FEWEST_ROWS,
    Calibration,
    CurvePoint,
    Numbers,
    SliceCalibration,
    curve_points,
    judge,
    not_monitored,
    nothing_labelled,
    wilson,
)
from detectors.calibration.rows import JudgedRows, effective_rows, judged_rows, squared_sums
from detectors.calibration.slices import ranked
from detectors.calibration.spiegelhalter import spiegelhalter
from detectors.calibration.wording import words_for
from detectors.discovery import FEWEST_ROWS as FEWEST_FOUND
from detectors.discovery import discover, half_of, rows_of
from detectors.records import BoolArray, Categories, FloatArray, Task, Window

SUM_CONSTRAINED = 0.2
"""Below this dispersion of Σ(y - p) per cluster the scores add up to the outcome by design."""

SEARCHED_ROWS = 20_000

__all__ = ["Calibration", "CurvePoint", "Numbers", "SliceCalibration", "calibration_of"]


def calibration_of(
    window: Window,
    *,
    task: Task,
    reference: Window | None = None,
    design_effect: float = 1.0,
    slices: Mapping[str, BoolArray] | None = None,
    search: Mapping[str, Categories] | None = None,
) -> Calibration:
    """Judge the labelled rows of a window, and of its slices: masks (n,) by name.

    `design_effect` divides the rows where they depend on each other in ways not recorded; with
    a `cluster` column the variance is summed by cluster instead. Slices are relative to the same
    curve as the whole, so a slice that was already off in the reference shows. `p_value` is for
    the caller to weigh against its other questions; `state` takes it alone at .05, slices at a
    false discovery rate of .05 among themselves. In `search`, columns of categories (n,), slices
    that nobody named are looked for on half of the rows and judged on the other half.
    """
    if task is Task.REGRESSION:
        return calibration_of_values(
            window, reference=reference, design_effect=design_effect, slices=slices or {}
        )
    rows = judged_rows(window, task=task)
    if rows is None:
        return not_monitored()
    if not len(rows):
        return nothing_labelled(window.rows)
    base = None if reference is None else judged_rows(reference, task=task)
    curve = None
    if base is not None and len(base):
        curve = fit_recalibration(base.score, base.label, base.weight)
    deff = max(design_effect, 1.0)
    noise = reference_noise(base, curve, deff)
    numbers = _numbers(rows, curve, noise, deff)
    absolute = numbers if curve is None else _numbers(rows, None, ReferenceNoise(), deff)
    p = rows.score if curve is None else curve.apply(rows.score)
    cumulative = ecce(p, rows.label, rows.weight)
    sharp = spiegelhalter(rows.score, rows.label, rows.weight)
    # both tests know independent rows only: what depends is allowed for as a design effect
    together = max(deff, _clustering(rows, p))
    mad = None if cumulative is None else cumulative.mad_normalised
    interval = ece_interval(p, rows.label, rows.weight, design_effect=together)
    result = Calibration(
        state=numbers.state,
        relative_to="outcomes" if curve is None else "reference",
        rows=len(rows),
        observed_over_expected=numbers.ratio,
        observed_over_expected_ci=numbers.ratio_ci,
        intercept=numbers.intercept,
        intercept_ci=numbers.intercept_ci,
        slope=numbers.slope,
        slope_ci=numbers.slope_ci,
        p_value=numbers.p_value,
        ecce=None if cumulative is None else cumulative.mad,
        ecce_normalised=None if mad is None else mad / together**0.5,
        ecce_p=None if mad is None else largest_walk_p(mad / together**0.5),
        ece_debiased=ece_debiased(p, rows.label, rows.weight),
        ece_ci=(None, None) if interval is None else interval,
        spiegelhalter_p=None if sharp is None else _two_sided(sharp[0] / together**0.5),
        minimum_detectable=numbers.minimum_detectable,
        rows_needed=numbers.rows_needed,
        absolute=absolute,
        curve=_curve(rows, curve, deff),
        slices=_slices(rows, curve, noise, deff, slices or {}),
        discovered=_discovered(rows, curve, noise, deff, window, search or {}),
        note=numbers.note,
    )
    return replace(result, words=words_for(result))


def _numbers(
    rows: JudgedRows, curve: Recalibration | None, noise: ReferenceNoise, deff: float
) -> Numbers:
    """Intercept, slope and ratio with intervals and the state they make."""
    p = rows.score if curve is None else curve.apply(rows.score)
    large = in_the_large(p, rows.label, rows.weight, rows.cluster)
    assert large is not None, "rows are not empty here"
    line = cox_line(p, rows.label, rows.weight, rows.cluster)
    root = float(np.sqrt(deff))
    testable = not _sum_constrained(rows, p)
    information = float(rows.weight @ (p * (1.0 - p)))
    curve_se, curve_tilt = noise.errors(rows.score, rows.weight)
    ratio_noise = curve_se * information / large.expected if large.expected else 0.0
    implied = float(np.sqrt(rows.weight**2 @ (p * (1.0 - p)))) / max(information, 1e-12)
    minority = min(large.observed, float(rows.weight.sum()) - large.observed)
    expected = min(large.expected, float(rows.weight.sum()) - large.expected)
    effective = effective_rows(rows.weight) / deff
    clusters = np.inf if rows.cluster is None else float(rows.cluster.max()) + 1.0
    scale = effective / float(rows.weight.sum())
    return judge(
        rows=len(rows),
        observed=large.observed,
        expected=large.expected,
        ratio=large.ratio,
        ratio_se=float(np.hypot(large.ratio_se * root, ratio_noise)),
        intercept=large.intercept if testable else None,
        intercept_se=float(np.hypot(large.intercept_se * root, curve_se)),
        slope=None if line is None else float(line.coefficients[1]),
        slope_se=0.0 if line is None else float(np.hypot(line.se(1) * root, curve_tilt)),
        null_se=float(np.hypot(implied * root, curve_se)),
        effective=min(effective, clusters),
        rare=max(minority, expected) * scale,
        rare_before=noise.rare,
        one_class=large.shrunk,
        note=_note(large, clusters, testable=testable),
    )


def _note(large: InTheLarge, clusters: float, *, testable: bool) -> str:
    if clusters < FEWEST_ROWS:
        return f"{clusters:.0f} clusters of rows that share an outcome; 20 are needed"
    if not testable:
        return "scores of a cluster add up to its outcome, so only the slope can be judged"
    if large.shrunk:
        return "only one class has been seen; the intercept is the bias-reduced one"
    return ""


def _sum_constrained(rows: JudgedRows, p: FloatArray) -> bool:
    """Whether each cluster's scores add up to what happens in it, as for one winner in a race."""
    if rows.cluster is None:
        return False
    sizes = np.bincount(rows.cluster)
    if len(sizes) < 20 or sizes.mean() < 1.5:
        return False
    surplus = np.bincount(rows.cluster, weights=rows.label - p)
    implied = float((p * (1.0 - p)).sum())
    return implied > 0.0 and float(surplus @ surplus) / implied < SUM_CONSTRAINED


def _clustering(rows: JudgedRows, p: FloatArray) -> float:
    """How much more the surplus of labels varies by cluster than independent rows would let it."""
    if rows.cluster is None:
        return 1.0
    implied = float(rows.weight**2 @ (p * (1.0 - p)))
    seen = squared_sums(rows.weight * (rows.label - p), rows.cluster)
    return max(1.0, seen / implied) if implied > 0.0 else 1.0


def _two_sided(z: float) -> float:
    from scipy.special import ndtr

    return float(2.0 * ndtr(-abs(z)))


def _curve(rows: JudgedRows, curve: Recalibration | None, deff: float) -> tuple[CurvePoint, ...]:
    """What was observed at what score, with Wilson intervals, over at most 15 bins."""
    bins = equal_mass_bins(rows.score, rows.label, rows.weight)
    lower, upper = wilson(bins.label, bins.effective / deff)
    before = bins.score if curve is None else curve.apply(bins.score)
    return curve_points(bins.score, bins.label, lower, upper, before, bins.rows)


def _slices(
    rows: JudgedRows,
    curve: Recalibration | None,
    noise: ReferenceNoise,
    deff: float,
    masks: Mapping[str, BoolArray],
) -> tuple[SliceCalibration, ...]:
    """Every slice that has labelled rows, furthest off first after shrinkage."""
    found: list[tuple[str, Numbers]] = []
    for name, mask in masks.items():
        inside = np.flatnonzero(np.asarray(mask, dtype=np.bool_)[rows.index])
        if inside.size:
            found.append((name, _numbers(rows.take(inside), curve, noise, deff)))
    return ranked(found)


def _discovered(
    rows: JudgedRows,
    curve: Recalibration | None,
    noise: ReferenceNoise,
    deff: float,
    window: Window,
    columns: Mapping[str, Categories],
) -> tuple[SliceCalibration, ...]:
    """Slices nobody named: found on one half of the labelled rows, judged on the other.

    Clusters stay together. At most 20,000 rows are searched.
    """
    if not columns or len(rows) < 4 * FEWEST_FOUND:
        return ()
    entity = None if window.cluster is None else window.cluster.take(rows.index)
    half = half_of(len(rows), entity)
    searched, held = np.flatnonzero(half)[:SEARCHED_ROWS], np.flatnonzero(~half)
    part = rows.take(searched)
    p = part.score if curve is None else curve.apply(part.score)
    inside = {name: column.take(part.index) for name, column in columns.items()}
    weight = part.weight * (effective_rows(part.weight) / float(part.weight.sum()))
    proposed = discover(weight * (part.label - p), weight * p * (1.0 - p), inside)
    other = rows.take(held)
    outside = {name: column.take(other.index) for name, column in columns.items()}
    found = []
    for one in proposed:
        places = np.flatnonzero(rows_of(one, outside))
        if places.size:
            found.append((one.name, _numbers(other.take(places), curve, noise, deff)))
    return ranked(found)
