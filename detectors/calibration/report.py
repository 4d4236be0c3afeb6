"""The calibration answer of a report: one state, effect sizes with intervals, a sentence.

Against a labelled reference everything is relative to the reference's own recalibration curve:
a model that was a little off when it was accepted is judged for what has changed since. The
error of that curve is part of every interval. Absolute numbers stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from detectors.calibration.bins import equal_mass_bins
from detectors.calibration.ecce import ecce, largest_walk_p
from detectors.calibration.ece import ece_debiased, ece_interval
from detectors.calibration.head_report import with_heads
from detectors.calibration.line import calibration_of_values
from detectors.calibration.numbers import clustering, numbers_of
from detectors.calibration.recalibration import Recalibration, fit_recalibration
from detectors.calibration.reference_noise import ReferenceNoise, reference_noise
from detectors.calibration.result import (
    Calibration,
    CurvePoint,
    Numbers,
    SliceCalibration,
    curve_points,
    not_monitored,
    nothing_labelled,
    wilson,
)
from detectors.calibration.rows import JudgedRows, effective_rows, judged_rows
from detectors.calibration.slices import ranked
from detectors.calibration.spiegelhalter import spiegelhalter
from detectors.calibration.thin import off_beyond_chance
from detectors.calibration.wording import words_for
from detectors.discovery import FEWEST_ROWS as FEWEST_FOUND
from detectors.discovery import discover, half_of, rows_of
from detectors.records import BoolArray, Categories, FloatArray, Schema, State, Task, Window
from detectors.slices import SmallSlices

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
    thin: Sequence[SmallSlices] = (),
    schema: Schema | None = None,
) -> Calibration:
    """Judge the labelled rows of a window, and of its slices: masks (n,) by name.

    `design_effect` divides the rows where they depend on each other in ways not recorded; with
    a `cluster` column the variance is summed by cluster instead. Slices are relative to the same
    curve as the whole, so a slice that was already off in the reference shows. `p_value` is for
    the caller to weigh against its other questions; `state` takes it alone at .05, slices at a
    false discovery rate of .05 among themselves. In `search`, columns of categories (n,), slices
    that nobody named are looked for on half of the rows and judged on the other half. Of the
    slices in `thin`, too small to be asked more than one question, those join the `slices` that are
    off beyond chance (not of a regression). With a `schema` that names further outputs, each of
    those is judged too.
    """
    if task is Task.REGRESSION:
        values = calibration_of_values(
            window, reference=reference, design_effect=design_effect, slices=slices or {}
        )
        return with_heads(values, window, schema, reference, design_effect)
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
    numbers = numbers_of(rows, curve, noise, deff)
    absolute = numbers if curve is None else numbers_of(rows, None, ReferenceNoise(), deff)
    p = rows.score if curve is None else curve.apply(rows.score)
    cumulative = ecce(p, rows.label, rows.weight)
    sharp = spiegelhalter(rows.score, rows.label, rows.weight)
    # both tests know independent rows only: what depends is allowed for as a design effect
    together = max(deff, clustering(rows, p))
    mad = None if cumulative is None else cumulative.mad_normalised
    asked, few = _thin(rows, p, curve, noise, deff, together, thin)
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
        slices=(*_slices(rows, curve, noise, deff, slices or {}), *few),
        thin_asked=asked,
        discovered=_discovered(rows, curve, noise, deff, window, search or {}),
        note=numbers.note,
    )
    whole = replace(result, words=words_for(result))
    return with_heads(whole, window, schema, reference, design_effect)


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
            found.append((name, numbers_of(rows.take(inside), curve, noise, deff)))
    return ranked(found)


def _thin(
    rows: JudgedRows,
    p: FloatArray,
    curve: Recalibration | None,
    noise: ReferenceNoise,
    deff: float,
    together: float,
    thin: Sequence[SmallSlices],
) -> tuple[int, tuple[SliceCalibration, ...]]:
    """How many small slices were asked, and those that are off, unless by too little to matter."""
    asked, standing = off_beyond_chance(rows, p, thin, design_effect=together)
    found = [
        (one.name, numbers_of(rows.take(one.inside), curve, noise, deff), one.p_value)
        for one in standing
    ]
    told = {name: p_value for name, numbers, p_value in found if numbers.state is not State.OK}
    judged = ranked([(name, numbers) for name, numbers, _ in found if name in told])
    return asked, tuple(
        replace(
            one,
            state=State.WATCH if one.state is State.UNDETERMINED else one.state,
            p_value=told[one.name],
            note=f"too few rows to be followed; off beyond chance among {asked:,} such slices",
        )
        for one in judged
    )


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
            found.append((one.name, numbers_of(other.take(places), curve, noise, deff)))
    return ranked(found)
