"""Calibration of predicted values: do labels lie on the line they are predicted on?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from detectors.calibration.bins import equal_mass_bins
from detectors.calibration.result import (
    Z95,
    Calibration,
    CurvePoint,
    Numbers,
    curve_points,
    judge,
    not_monitored,
    nothing_labelled,
)
from detectors.calibration.rows import JudgedRows, effective_rows, judged_rows, squared_sums
from detectors.calibration.slices import ranked
from detectors.calibration.wording import words_for
from detectors.records import BoolArray, FloatArray, Task, Window


@dataclass(frozen=True, slots=True)
class Line:
    """Weighted least squares of label on prediction, robust standard errors.

    `bias` is the mean of label - prediction; intercept and slope None where predictions do
    not vary. `centre` is the mean prediction, `rows` are effective.
    """

    bias: float
    bias_se: float
    intercept: float | None
    slope: float | None
    slope_se: float
    centre: float = 0.0
    rows: float = 0.0


def fit_line(rows: JudgedRows, score: FloatArray) -> Line:
    """The line through labels (n,) over predictions `score` (n,), at least one row."""
    w = rows.weight
    total = float(w.sum())
    residual = rows.label - score
    bias = float(w @ residual) / total
    n = effective_rows(w)
    small = n / max(n - 1.0, 1.0)
    bias_se = np.sqrt(squared_sums(w * (residual - bias), rows.cluster) * small) / total
    if len(rows) < 2:
        bias_se = np.inf
    centre = float(w @ score) / total
    x = score - centre
    spread = float(w @ x**2)
    if spread <= 1e-12 * total * max(centre**2, 1e-12) or len(rows) < 3:
        return Line(bias, float(bias_se), None, None, 0.0, centre, n)
    slope = float(w @ (x * rows.label)) / spread
    mean = float(w @ rows.label) / total
    left = rows.label - mean - slope * x
    slope_se = np.sqrt(squared_sums(w * x * left, rows.cluster) * small) / spread
    return Line(bias, float(bias_se), mean - slope * centre, slope, float(slope_se), centre, n)


def calibration_of_values(
    window: Window,
    *,
    reference: Window | None,
    design_effect: float,
    slices: Mapping[str, BoolArray],
) -> Calibration:
    """As `calibration_of`, for a regression: level in sd of the label, slope of label on score.

    The reference's line takes the place of its recalibration curve, and its labels give the sd.
    """
    rows = judged_rows(window, task=Task.REGRESSION)
    if rows is None:
        return not_monitored()
    if not len(rows):
        return nothing_labelled(window.rows)
    base = None if reference is None else judged_rows(reference, task=Task.REGRESSION)
    if base is not None and not len(base):
        base = None
    line = None if base is None else fit_line(base, base.score)
    sd = _sd(rows if base is None else base)
    deff = max(design_effect, 1.0)
    numbers = _numbers(rows, line, sd, deff)
    found = []
    for name, mask in slices.items():
        inside = np.flatnonzero(np.asarray(mask, dtype=np.bool_)[rows.index])
        if inside.size:
            found.append((name, _numbers(rows.take(inside), line, sd, deff)))
    result = Calibration(
        state=numbers.state,
        relative_to="outcomes" if line is None else "reference",
        rows=len(rows),
        observed_over_expected=numbers.ratio,
        observed_over_expected_ci=numbers.ratio_ci,
        intercept=numbers.intercept,
        intercept_ci=numbers.intercept_ci,
        slope=numbers.slope,
        slope_ci=numbers.slope_ci,
        p_value=numbers.p_value,
        minimum_detectable=numbers.minimum_detectable,
        rows_needed=numbers.rows_needed,
        absolute=numbers if line is None else _numbers(rows, None, sd, deff),
        curve=_curve(rows, line, deff),
        slices=ranked(found),
        unit="sd",
        note=numbers.note,
    )
    return replace(result, words=words_for(result))


def _sd(rows: JudgedRows) -> float:
    """Weighted sd of the labels; 1 where they do not vary, so that nothing is divided by 0."""
    mean = float(rows.weight @ rows.label) / float(rows.weight.sum())
    variance = float(rows.weight @ (rows.label - mean) ** 2) / float(rows.weight.sum())
    return float(np.sqrt(variance)) if variance > 0.0 else 1.0


def _moved(score: FloatArray, line: Line | None) -> FloatArray:
    """Predictions as the reference's line would correct them."""
    if line is None:
        return score
    if line.slope is None or line.intercept is None:
        return score + line.bias
    return line.intercept + line.slope * score


def _numbers(rows: JudgedRows, line: Line | None, sd: float, deff: float) -> Numbers:
    score = _moved(rows.score, line)
    fit = fit_line(rows, score)
    root = float(np.sqrt(deff))
    ref_level = 0.0 if line is None or not np.isfinite(line.bias_se) else line.bias_se
    ref_slope = line.slope_se / abs(line.slope) if line is not None and line.slope else 0.0
    total = float(rows.weight.sum())
    if line is not None and line.slope is not None:
        # the line's error grows away from the predictions it was learnt on
        away = float(rows.weight @ rows.score) / total - line.centre
        ref_level = float(np.hypot(ref_level, line.slope_se * away))
    observed, expected = float(rows.weight @ rows.label), float(rows.weight @ score)
    level_se = float(np.hypot(fit.bias_se, ref_level)) * root / sd
    # a ratio of sums means something only where predictions keep one sign
    one_sign = bool((score > 0.0).all() or (score < 0.0).all())
    known = np.isfinite(level_se)
    return judge(
        rows=len(rows),
        observed=observed,
        expected=expected,
        ratio=observed / expected if one_sign else None,
        ratio_se=level_se * sd * total / abs(expected) if one_sign else 0.0,
        intercept=fit.bias / sd if known else None,
        intercept_se=level_se if known else 0.0,
        slope=fit.slope,
        slope_se=float(np.hypot(fit.slope_se, ref_slope)) * root,
        null_se=level_se,
        effective=effective_rows(rows.weight) / deff,
        rare=effective_rows(rows.weight) / deff,
        rare_before=None if line is None else line.rows / deff,
        rare_words="rows",
        use_ratio=False,
    )


def _curve(rows: JudgedRows, line: Line | None, deff: float) -> tuple[CurvePoint, ...]:
    bins = equal_mass_bins(rows.score, rows.label, rows.weight)
    half = Z95 * np.sqrt(bins.variance * deff / np.maximum(bins.effective - 1.0, 1.0))
    before = _moved(bins.score, line)
    return curve_points(
        bins.score, bins.label, bins.label - half, bins.label + half, before, bins.rows
    )
