"""Bins of equal mass over the scores; rows of one score are never split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Per bin (b,): Σω, effective rows, mean score, mean label, label variance, and rows."""

    mass: FloatArray
    effective: FloatArray
    score: FloatArray
    label: FloatArray
    variance: FloatArray
    rows: IntArray


def equal_mass_bins(
    p: FloatArray, y: FloatArray, weight: FloatArray | None = None, *, bins: int = 15
) -> Bins:
    """At most `bins` bins of about equal Σω over scores p (n,) with labels y (n,), ascending."""
    ones = np.ones(len(p)) if weight is None else weight
    order = np.argsort(p, kind="stable")
    p, y, ones = p[order], y[order], ones[order]
    if not len(p):
        none = np.empty(0)
        return Bins(none, none, none, none, none, np.empty(0, np.int64))
    reached = np.cumsum(ones)
    first = np.flatnonzero(np.append(True, p[1:] != p[:-1]))  # where each distinct score begins
    middle = 0.5 * (reached[first] - ones[first] + np.append(reached[first[1:] - 1], reached[-1]))
    number = np.minimum((middle / reached[-1] * bins).astype(np.int64), bins - 1)
    starts = first[np.flatnonzero(np.diff(number, prepend=-1))]
    mass = np.add.reduceat(ones, starts)
    score = np.add.reduceat(ones * p, starts) / mass
    label = np.add.reduceat(ones * y, starts) / mass
    rows = np.diff(np.append(starts, len(p)))
    deviation = y - np.repeat(label, rows)
    return Bins(
        mass=mass,
        effective=mass**2 / np.add.reduceat(ones**2, starts),
        score=score,
        label=label,
        variance=np.add.reduceat(ones * deviation**2, starts) / mass,
        rows=rows.astype(np.int64),
    )
