"""Calibration in numbers, and the rule that makes a state of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detectors.records import FloatArray, IntArray, State

INTERCEPT_EFFECT = 0.05
RATIO_EFFECT = 0.05
SLOPE_RANGE = (0.85, 1.15)
Z95 = 1.959964
POWER_Z = 0.841621
LEVEL = 0.05
FEWEST_ROWS = 20.0
WIDEST = 3.0

Bounds = tuple[float | None, float | None]
UNKNOWN: Bounds = (None, None)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Effect sizes with 95 % intervals. Intercept in log odds (sd for regression)."""

    state: State
    rows: int
    observed: float | None
    expected: float | None
    ratio: float | None
    ratio_ci: Bounds
    intercept: float | None
    intercept_ci: Bounds
    intercept_se: float
    slope: float | None
    slope_ci: Bounds
    p_value: float | None
    minimum_detectable: float | None
    rows_needed: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One bin of scores: its mean score and what was observed there, with an interval.

    `reference` is what a score like this meant in the reference.
    """

    score: float
    observed: float
    lower: float
    upper: float
    reference: float
    rows: int


@dataclass(frozen=True, slots=True)
class SliceCalibration:
    """One slice. `shrunk` is the intercept pulled towards the others': for ranking only.

    `stands_out` where it lies beyond the practical effect with probability .9. `note` says why
    nothing can be.
    """

    name: str
    state: State
    rows: int
    observed_over_expected: float | None
    intercept: float | None
    intercept_ci: Bounds
    slope: float | None
    slope_ci: Bounds
    p_value: float | None
    shrunk: float | None
    shrunk_sd: float | None
    minimum_detectable: float | None
    stands_out: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class HeadCalibration:
    """A class probability, a quantile, or half of what a mean with an sd says.

    `part` compares with the reference, `absolute` with outcomes. `level` is the fixed chance of a
    quantile, `observed` the share of cases in which it came true, with Wilson's interval. `pinball`
    is the mean pinball loss of a quantile, here and in the reference.
    """

    part: SliceCalibration
    says: str
    level: float | None
    observed: float | None
    observed_ci: Bounds
    absolute: Numbers
    ece_debiased: float | None = None
    ece_ci: Bounds = UNKNOWN
    ecce_p: float | None = None
    spiegelhalter_p: float | None = None
    pinball: float | None = None
    pinball_reference: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard residuals z = (label - mean) / sd: their mean, sd, and whether they look normal.

    Right is mean 0, sd 1. `pit_p` tests Φ(z) against uniform (Kolmogorov-Smirnov). `shift` and
    `factor` would mend the forecast: mean + shift · sd, sd · factor. `before` is the sd of z in the
    reference.
    """

    rows: int
    mean: float
    mean_ci: Bounds
    sd: float
    sd_ci: Bounds
    pit_p: float
    before: float | None = None

    @property
    def shift(self) -> float:
        return self.mean

    @property
    def factor(self) -> float:
        return self.sd


@dataclass(frozen=True, slots=True)
class Calibration:
    """The answer to "do scores mean what they meant?".

    With `relative_to` "reference" the numbers compare labels with the reference's recalibration
    curve, with "outcomes" with the scores themselves, which `absolute` always does.
    `minimum_detectable` is the smallest shift of log odds (sd for regression) found with 80 %
    power on this many rows. `ece_debiased` is a signed root, see `ece_debiased`. `discovered` are
    slices that a search of half of the rows proposed, judged on the other half. `thin_asked` slices
    were too small to be followed and were asked whether they are off beyond chance.
    """

    state: State
    relative_to: str = "outcomes"
    rows: int = 0
    observed_over_expected: float | None = None
    observed_over_expected_ci: Bounds = UNKNOWN
    intercept: float | None = None
    intercept_ci: Bounds = UNKNOWN
    slope: float | None = None
    slope_ci: Bounds = UNKNOWN
    p_value: float | None = None
    ecce: float | None = None
    ecce_normalised: float | None = None
    ecce_p: float | None = None
    ece_debiased: float | None = None
    ece_ci: Bounds = UNKNOWN
    spiegelhalter_p: float | None = None
    minimum_detectable: float | None = None
    rows_needed: int | None = None
    absolute: Numbers | None = None
    curve: tuple[CurvePoint, ...] = ()
    slices: tuple[SliceCalibration, ...] = ()
    discovered: tuple[SliceCalibration, ...] = ()
    thin_asked: int = 0
    heads: tuple[HeadCalibration, ...] = ()
    spread: Spread | None = None
    unit: str = "log odds"
    note: str = ""
    words: str = ""


def not_monitored() -> Calibration:
    return Calibration(
        State.NOT_MONITORED, words="not monitored: scores or labels are not recorded"
    )


def nothing_labelled(rows: int) -> Calibration:
    return Calibration(
        State.UNDETERMINED,
        words=f"undetermined: none of {rows:,} rows has both a score and a label yet",
    )


def judge(
    *,
    rows: int,
    observed: float | None,
    expected: float | None,
    ratio: float | None,
    ratio_se: float,
    intercept: float | None,
    intercept_se: float,
    slope: float | None,
    slope_se: float,
    null_se: float,
    effective: float,
    rare: float,
    rare_before: float | None = None,
    rare_words: str = "labels of the rarer class",
    use_ratio: bool = True,
    one_class: bool = False,
    note: str = "",
) -> Numbers:
    """Intervals, p-value and state of estimates with their standard errors.

    Undetermined with fewer than 20 rows of the rarer class, seen or expected in `rare` effective
    rows, or seen in the reference (`rare_before`): no normal interval holds for so few. Else
    drift: an interval wholly beyond the practical effect and p <= .05, p being that of intercept
    and slope together (Bonferroni). ok: all intervals inside. watch: an estimate beyond it, whose
    interval is no wider than three practical effects or shuts out "no change". Otherwise
    undetermined. The level is beyond only where intercept and ratio both are. `null_se` is the
    intercept's standard error if nothing had changed.
    """
    from scipy.special import ndtr

    intercept_ci = _around(intercept, intercept_se)
    slope_ci = _around(slope, slope_se)
    ratio_ci = _around(ratio, ratio_se)
    if ratio_ci[0] is not None and use_ratio:
        ratio_ci = (max(ratio_ci[0], 0.0), ratio_ci[1])
    gaps = ((intercept, intercept_se), (None if slope is None else slope - 1.0, slope_se))
    tests = [
        float(2.0 * ndtr(-abs(gap) / se)) if se > 0.0 else float(abs(gap) < 1e-12)
        for gap, se in gaps
        if gap is not None
    ]
    p_value = min(1.0, len(tests) * min(tests)) if tests else None
    level = (-INTERCEPT_EFFECT, INTERCEPT_EFFECT)
    about_one = (1.0 - RATIO_EFFECT, 1.0 + RATIO_EFFECT)
    beyond = _outside(intercept_ci, level)
    off = _outside((intercept, intercept), level) and _clear(intercept, intercept_se, level[1])
    inside = _within(intercept_ci, level)
    if use_ratio and ratio is not None:
        beyond = beyond and _outside(ratio_ci, about_one)
        off = off and _outside((ratio, ratio), about_one)
        inside = inside or (_within(ratio_ci, about_one) and not one_class)
    inside = (inside or intercept is None) and (slope is None or _within(slope_ci, SLOPE_RANGE))
    beyond = beyond or _outside(slope_ci, SLOPE_RANGE)
    tilted = None if slope is None else slope - 1.0
    off = off or (
        _outside((slope, slope), SLOPE_RANGE) and _clear(tilted, slope_se, SLOPE_RANGE[1] - 1.0)
    )
    state = State.UNDETERMINED
    enough = min(effective, rare, np.inf if rare_before is None else rare_before) >= FEWEST_ROWS
    if p_value is not None and enough:
        if beyond and p_value <= LEVEL:
            state = State.DRIFT
        elif inside:
            state = State.OK
        elif off:
            state = State.WATCH
    note = note or _too_rare(rare, rare_before, rare_words)
    numbers = Numbers(
        state=state,
        rows=rows,
        observed=observed,
        expected=expected,
        ratio=ratio,
        ratio_ci=ratio_ci,
        intercept=intercept,
        intercept_ci=intercept_ci,
        intercept_se=intercept_se,
        slope=slope,
        slope_ci=slope_ci,
        p_value=p_value,
        minimum_detectable=(Z95 + POWER_Z) * null_se if np.isfinite(null_se) else None,
        rows_needed=None,
        note=note,
    )
    if state in (State.UNDETERMINED, State.WATCH):
        numbers = replace(numbers, rows_needed=_rows_needed(rows, null_se, slope, slope_se))
    return numbers


def _too_rare(rare: float, rare_before: float | None, what: str) -> str:
    """Why nothing can be said although there are rows, "" where something can."""
    if rare_before is not None and rare_before < FEWEST_ROWS:
        return (
            f"the reference has only {rare_before:,.0f} {what}; "
            f"{FEWEST_ROWS:.0f} are needed to compare with"
        )
    if rare < FEWEST_ROWS:
        return f"{rare:,.0f} {what} here, {FEWEST_ROWS:.0f} are needed"
    return ""


def _rows_needed(rows: int, null_se: float, slope: float | None, slope_se: float) -> int | None:
    """Rows still missing until the half widths are the practical effects themselves."""
    if not np.isfinite(null_se):
        return None
    times = (Z95 * null_se / INTERCEPT_EFFECT) ** 2
    if slope is not None:
        times = max(times, (Z95 * slope_se / (SLOPE_RANGE[1] - 1.0)) ** 2)
    needed = rows * (times - 1.0)
    return int(np.ceil(needed)) if 0.0 < needed < 1e12 else None


def _around(estimate: float | None, se: float) -> Bounds:
    if estimate is None or not np.isfinite(se):
        return UNKNOWN
    return estimate - Z95 * se, estimate + Z95 * se


def _clear(gap: float | None, se: float, effect: float) -> bool:
    """Whether an estimate says anything: a change at 95 %, or within three effects."""
    half = Z95 * se
    return gap is not None and (abs(gap) > half or half <= WIDEST * effect)


def _outside(ci: Bounds, limits: tuple[float, float]) -> bool:
    lower, upper = ci
    return lower is not None and upper is not None and (lower > limits[1] or upper < limits[0])


def _within(ci: Bounds, limits: tuple[float, float]) -> bool:
    lower, upper = ci
    return lower is not None and upper is not None and limits[0] <= lower and upper <= limits[1]


def wilson(rate: FloatArray, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """95 % score interval (b,) for rates (b,) of effective rows (b,); after Wilson (1927)."""
    z2 = Z95**2
    centre = (rate + z2 / (2.0 * rows)) / (1.0 + z2 / rows)
    half = Z95 / (1.0 + z2 / rows) * np.sqrt(rate * (1.0 - rate) / rows + z2 / (4.0 * rows**2))
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def curve_points(
    score: FloatArray,
    observed: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    reference: FloatArray,
    rows: IntArray,
) -> tuple[CurvePoint, ...]:
    """Arrays (b,) as one point a bin."""
    columns = (score, observed, lower, upper, reference, rows)
    points = zip(*(column.tolist() for column in columns), strict=True)
    return tuple(CurvePoint(*point) for point in points)
