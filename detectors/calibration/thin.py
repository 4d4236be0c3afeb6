"""Which of thousands of slices, each too small to be followed, are off beyond chance.

Each slice has one question, whether its surplus S = Σω(y - p) can be chance, and one answer that
holds for any number of rows, rare outcomes and weights: Bernstein's bound (1924)

    P(|S| ≥ s) ≤ 2 exp(-s² / (2 d (Σω² p(1 - p) + s max ω / 3)))

with the design effect d. All are asked together, at a false discovery rate of .05, in a handful of
passes over the rows. Those that stand are then judged like any other slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.calibration.rows import JudgedRows
from detectors.calibration.slices import FALSE_DISCOVERY
from detectors.multiple import benjamini_hochberg
from detectors.records import FloatArray, IntArray
from detectors.slices import SmallSlices

FEWEST_ROWS = 20
"""With fewer rows a slice is not asked."""
MOST = 20
"""So many are told, the surest first."""


@dataclass(frozen=True, slots=True, eq=False)
class ThinSlice:
    """A slice that is off beyond chance: its judged rows, as an index, and the bound."""

    name: str
    inside: IntArray
    p_value: float


def off_beyond_chance(
    rows: JudgedRows, p: FloatArray, thin: Sequence[SmallSlices], *, design_effect: float = 1.0
) -> tuple[int, tuple[ThinSlice, ...]]:
    """How many slices were asked, and those that stand, for probabilities p (n,) of judged rows."""
    residual = rows.weight * (rows.label - p)
    variance = rows.weight**2 * p * (1.0 - p)
    largest = float(rows.weight.max(initial=0.0))
    asked: list[tuple[int, int]] = []
    bounds: list[FloatArray] = []
    for at, part in enumerate(thin):
        codes = part.places[rows.index]
        held = codes >= 0
        count = np.bincount(codes[held], minlength=part.count)
        surplus, spread = (
            np.bincount(codes[held], values[held], part.count).astype(np.float64)
            for values in (residual, variance)
        )
        enough = np.flatnonzero(count >= FEWEST_ROWS)
        asked += [(at, int(code)) for code in enough]
        bounds.append(_bound(surplus[enough], spread[enough], largest, design_effect))
    if not asked:
        return 0, ()
    p_values = np.concatenate(bounds)
    stand = np.flatnonzero(benjamini_hochberg(p_values, FALSE_DISCOVERY))
    surest = stand[np.argsort(p_values[stand], kind="stable")][:MOST]
    found = []
    for place in surest.tolist():
        at, code = asked[place]
        inside = np.flatnonzero(thin[at].places[rows.index] == code)
        found.append(ThinSlice(thin[at].name_of(code), inside, float(p_values[place])))
    return len(asked), tuple(found)


def _bound(
    surplus: FloatArray, variance: FloatArray, largest: float, design_effect: float
) -> FloatArray:
    room = np.maximum(variance + np.abs(surplus) * largest / 3.0, 1e-300)
    bound: FloatArray = np.minimum(1.0, 2.0 * np.exp(-(surplus**2) / (2.0 * design_effect * room)))
    return bound
