"""A column in another unit: every quantile or value times one factor, or moved by one amount."""

from __future__ import annotations

import math

import numpy as np

from detectors.records import FloatArray, MappingEntry, State
from detectors.schema.check import UNIT, SchemaCheck
from detectors.schema.pairs import Pair

MIN_ROWS = 30
MIN_QUANTILES = 5
LEVELS = np.arange(0.05, 0.951, 0.05)

FACTORS = {
    "1,000": 1e3,
    "1,000,000": 1e6,
    "10": 10.0,
    "100": 100.0,
    "60": 60.0,
    "3,600": 3600.0,
    "86,400": 86400.0,
    "2.54 (inches to centimetres)": 2.54,
    "0.4536 (pounds to kilograms)": 0.45359237,
    "1.609 (miles to kilometres)": 1.609344,
    "1.8 (degrees Celsius to Fahrenheit steps)": 1.8,
}

FACTOR_WITHIN = 0.03
RATIO_SPREAD = 0.02
NOISE_AT_MOST = 0.06
"""Small windows know their quantiles less well: limits grow to the error of the median ratio, and
never beyond this."""

FAR = 10.0
FAR_ERRORS, FAR_AT_MOST = 3.0, 0.2
"""No honest move takes every quantile tenfold or more in step. There limits grow to three errors of
the median ratio, so that chance does not hide a conversion from one window in three, and to a fifth
at most: two such factors still cannot be taken for each other."""

CONVERTED_FROM, KEPT_AT_MOST = 0.95, 0.5
SAME_DIGITS = 1e-6

SMALL_COUNT = 50
"""Small whole numbers that stay whole have not been converted: their few quantiles fit a factor by
chance."""

SLOPE_WITHIN = 0.05
SHIFT_IQR = 0.5
RESIDUAL_IQR = 0.05


def check_unit(pair: Pair) -> SchemaCheck | None:
    """Quantiles of both windows against each other, .05 to .95.

    A factor is certain enough to act on: the median ratio lies within 3 % of a conversion and the
    ratios spread by less than 2 %. An offset (slope within 5 % of one, shift above half an
    interquartile range) may be a real change of level, and is only to be watched.
    """
    before, now = pair.numbers
    if len(before) < MIN_ROWS or len(now) < MIN_ROWS:
        return None
    was, is_now = np.quantile(before, LEVELS), np.quantile(now, LEVELS)
    if len(np.unique(was)) < MIN_QUANTILES:
        return _scaled_values(pair.name, before, now)
    noise = _median_error(was, len(before), len(now))
    still_counts = was[9] < SMALL_COUNT and _whole(before) and _whole(now)
    factor = None if still_counts else _factor(pair.name, was, is_now, noise)
    return factor or _scaled_values(pair.name, before, now) or _affine(pair.name, was, is_now)


def _whole(values: FloatArray) -> bool:
    return bool(np.all(values == np.rint(values)))


def _median_error(quantiles: FloatArray, rows: int, rows_now: int) -> float:
    """Relative standard error of the ratio of two medians, the density read off .4 to .6."""
    middle, slope = abs(float(quantiles[9])), float(quantiles[11] - quantiles[7]) / 0.2
    error = 0.5 * math.sqrt(1 / rows + 1 / rows_now) * slope
    return error / middle if middle > 0 else 0.0


def _factor(name: str, was: FloatArray, now: FloatArray, noise: float) -> SchemaCheck | None:
    large = np.abs(was) > 0.05 * np.abs(was).max()
    if len(np.unique(was[large])) < MIN_QUANTILES:
        return None
    ratio = now[large] / was[large]
    middle = float(np.median(ratio))
    if middle == 0:
        return None
    spread = float(np.median(np.abs(ratio - middle))) / abs(middle)
    for label, factor in FACTORS.items():
        far = max(factor, 1 / factor) >= FAR
        room = min(FAR_ERRORS * noise, FAR_AT_MOST) if far else min(noise, NOISE_AT_MOST)
        if spread >= max(RATIO_SPREAD, room):
            continue
        for sign, known in (("×", factor), ("÷", 1 / factor)):
            if abs(middle / known - 1) < max(FACTOR_WITHIN, room):
                return SchemaCheck(
                    column=name,
                    check=UNIT,
                    state=State.DRIFT,
                    detail=f"quantiles of `{name}` are {middle:.4g} times those of the reference",
                    proposal=f"looks like {sign} {label}",
                    strength=1.0 - abs(middle / known - 1),
                    mapping=(MappingEntry(name, scale=known),),
                )
    return None


def _scaled_values(name: str, before: FloatArray, now: FloatArray) -> SchemaCheck | None:
    """Values that the reference never had, each a conversion of one it had.

    Counts and rounded numbers give themselves away so, however ties or moved inputs blur quantiles.
    Zero is zero in every unit and says nothing.
    """
    known, seen = np.unique(before[before != 0]), now[now != 0]
    if len(seen) < MIN_ROWS or len(np.unique(seen)) < MIN_QUANTILES or not len(known):
        return None
    kept = _share_among(seen, known)
    if kept > KEPT_AT_MOST:
        return None
    for label, factor in FACTORS.items():
        for sign, scale in (("×", factor), ("÷", 1 / factor)):
            share = _share_among(seen / scale, known)
            if share >= CONVERTED_FROM:
                return SchemaCheck(
                    column=name,
                    check=UNIT,
                    state=State.DRIFT,
                    detail=f"{100 * share:.3g} % of the values of `{name}` are {scale:.4g} times "
                    f"one that the reference has; {100 * kept:.3g} % are one as they stand",
                    proposal=f"looks like {sign} {label}",
                    strength=share,
                    mapping=(MappingEntry(name, scale=scale),),
                )
    return None


def _share_among(values: FloatArray, known: FloatArray) -> float:
    """Share of values (n,) that are one of known ascending ones (k,), to six digits."""
    right = np.searchsorted(known, values).clip(0, len(known) - 1)
    left = (right - 1).clip(0)
    apart = np.minimum(np.abs(values - known[right]), np.abs(values - known[left]))
    return float(np.mean(apart <= SAME_DIGITS * np.abs(values)))


def _affine(name: str, was: FloatArray, now: FloatArray) -> SchemaCheck | None:
    quartile_range = float(was[14] - was[4])
    if quartile_range <= 0 or not np.isfinite(now).all():
        return None
    slope, intercept = _theil_sen(was, now)
    residual = float(np.median(np.abs(now - intercept - slope * was)))
    temperature, mapping = _temperature(name, float(slope), float(intercept))
    if temperature and residual < RESIDUAL_IQR * quartile_range * slope:
        return SchemaCheck(
            column=name,
            check=UNIT,
            state=State.DRIFT,
            detail=f"quantiles of `{name}` are {slope:.3g} × those of the reference "
            f"{intercept:+.3g}",
            proposal=temperature,
            mapping=mapping,
        )
    moved = now - was
    shift = float(np.median(moved))
    if (
        abs(slope - 1) > SLOPE_WITHIN
        or abs(shift) <= SHIFT_IQR * quartile_range
        or np.median(np.abs(moved - shift)) >= RESIDUAL_IQR * quartile_range
    ):
        return None
    return SchemaCheck(
        column=name,
        check=UNIT,
        state=State.WATCH,
        detail=f"every quantile of `{name}` moved by {shift:+.4g}, its spread did not change",
        proposal=f"looks like an offset of {shift:+.4g}",
        strength=abs(shift) / quartile_range,
    )


def _theil_sen(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Slope and intercept (Theil 1950, Sen 1968): the median slope over pairs of points."""
    first, second = np.triu_indices(len(x), k=1)
    apart = x[second] - x[first]
    known = apart != 0
    slope = float(np.median((y[second] - y[first])[known] / apart[known]))
    return slope, float(np.median(y)) - slope * float(np.median(x))


def _temperature(
    name: str, slope: float, intercept: float
) -> tuple[str | None, tuple[MappingEntry, ...]]:
    if abs(slope / 1.8 - 1) < FACTOR_WITHIN and abs(intercept - 32) < 1.5:
        entry = MappingEntry(name, scale=1.8, offset=32.0)
        return "looks like degrees Celsius became Fahrenheit", (entry,)
    if abs(slope * 1.8 - 1) < FACTOR_WITHIN and abs(intercept + 32 / 1.8) < 1:
        entry = MappingEntry(name, scale=1 / 1.8, offset=-32 / 1.8)
        return "looks like degrees Fahrenheit became Celsius", (entry,)
    return None, ()
