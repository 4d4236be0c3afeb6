"""Does what is served look like the table that a model was trained on? Asked once, after a week.

A training table without times has marginals and no days, so nothing can be followed against it and
nobody is paged for differing from it. After seven days of serving the daily means of every stream
are held against the table's value: their scatter from day to day is the noise, whatever the rows,
so this is a t test with as many degrees of freedom as days less one, at 5 % over all streams
(Benjamini-Hochberg; it is looked at once), and only differences that matter are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.multiple import benjamini_hochberg
from detectors.profile import Profile
from detectors.records import DAY_US, FloatArray, IntArray, StreamSpec
from detectors.statistics import statistics
from detectors.summary import TickSummary

SKEW_AFTER_US = 7 * DAY_US
FEWEST_DAYS = 5
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Skew:
    """A stream (its place) whose daily means differ from the table, by how much, and the error."""

    stream: int
    effect: float
    error: float
    days: int


def serving_skew(
    specs: Sequence[StreamSpec],
    profile: Profile,
    starts_us: IntArray,
    y: FloatArray,
    v: FloatArray,
) -> tuple[Skew, ...]:
    """Streams whose ticks, starts (T,), y and v (T, K), differ from the table; largest first."""
    table = TickSummary(
        profile.fingerprint, 0, 1, columns=profile.counts, slices=profile.slice_sums
    )
    expected, known = statistics(specs, profile, table)
    days, means = _daily(starts_us, y, v)
    enough = (days >= FEWEST_DAYS) & np.isfinite(known)
    there = np.isfinite(means)
    with np.errstate(all="ignore"):
        level = np.where(there, means, 0.0).sum(axis=0) / days
        scatter = np.where(there, means - level, 0.0) ** 2
        error = np.sqrt(scatter.sum(axis=0) / (days - 1) / days + known)
        effect = level - expected
        p_values = np.where(enough & (error > 0.0), _two_sided(effect / error, days - 1), np.nan)
    matters = np.abs(effect) >= np.array([spec.delta_min for spec in specs])
    told = benjamini_hochberg(p_values, LEVEL) & matters
    found = [
        Skew(int(k), float(effect[k]), float(error[k]), int(days[k])) for k in np.flatnonzero(told)
    ]
    return tuple(sorted(found, key=lambda one: -abs(one.effect) / specs[one.stream].delta_min))


def _daily(starts_us: IntArray, y: FloatArray, v: FloatArray) -> tuple[IntArray, FloatArray]:
    """How many days each stream has data (K,), and its precision-weighted daily means (D, K)."""
    day, place = np.unique(starts_us // DAY_US, return_inverse=True)
    weight = np.where(np.isfinite(v) & (v > 0.0), 1.0 / np.where(v > 0.0, v, 1.0), 0.0)
    mass, total = np.zeros((len(day), y.shape[1])), np.zeros((len(day), y.shape[1]))
    np.add.at(mass, place, weight)
    np.add.at(total, place, weight * np.where(weight > 0.0, y, 0.0))
    means = np.where(mass > 0.0, total / np.where(mass > 0.0, mass, 1.0), np.nan)
    return np.asarray((mass > 0.0).sum(axis=0), np.int64), means


def _two_sided(t: FloatArray, freedom: IntArray) -> FloatArray:
    from scipy.special import stdtr

    return np.asarray(2.0 * stdtr(np.maximum(freedom, 1), -np.abs(t)))
