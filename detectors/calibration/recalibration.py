"""The reference's own recalibration curve: what a score meant when the reference was taken.

Drift of calibration is judged against this curve and not against perfection, so that a model
that was always a little off does not alarm for being itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.calibration.in_the_large import in_the_large
from detectors.calibration.logistic import fit_logistic
from detectors.calibration.rows import SAFE, effective_rows, sigmoid
from detectors.records import FloatArray, IntArray

ISOTONIC_ROWS = 5_000
BLOCK_ROWS = 100
CURVE_MINORITY = 20
BLOCK_EVENTS = 20
"""Isotonic blocks hold this many labels of the rarer class on average: fewer and the curve is noise
in which every later slope looks too flat."""
ISOTONIC_BLOCKS = 10


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A monotone map from score to the rate seen in the reference.

    method "beta": logit r = a ln p - b ln(1 - p) + c with `values` (a, b, c) and no `edges`;
    a = b = 1 is a mere shift. method "isotonic": `values` are the rates of blocks of scores and
    `edges` the scores that separate them, one fewer, each belonging to the block above.
    """

    method: str
    values: tuple[float, ...]
    edges: tuple[float, ...]
    rows: float

    def apply(self, score: FloatArray) -> FloatArray:
        """Rate (n,) for scores (n,) in [0, 1], strictly inside (0, 1); NaN stays NaN."""
        p = np.asarray(score, dtype=np.float64)
        if self.method == "isotonic":
            block = np.searchsorted(np.array(self.edges), p, side="right")
            rate = np.array(self.values)[np.minimum(block, len(self.values) - 1)]
            return np.asarray(np.where(np.isnan(p), np.nan, rate), dtype=np.float64)
        a, b, c = self.values
        safe = np.clip(p, SAFE, 1.0 - SAFE)
        z = a * np.log(safe) - b * np.log1p(-safe) + c
        return np.clip(sigmoid(z), SAFE, 1.0 - SAFE)

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and lists, for JSON."""
        return {
            "method": self.method,
            "values": list(self.values),
            "edges": list(self.edges),
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Recalibration:
        """The curve `to_dict` described; KeyError or ValueError if it is not one."""
        method = str(described["method"])
        values = tuple(float(value) for value in described["values"])
        edges = tuple(float(edge) for edge in described["edges"])
        fits = {"beta": len(values) == 3 and not edges, "isotonic": len(values) == len(edges) + 1}
        if not fits.get(method, False):
            msg = f"not a recalibration curve: method {method!r} with {len(values)} values"
            raise ValueError(msg)
        return cls(method, values, edges, float(described["rows"]))


def fit_recalibration(
    score: FloatArray, label: FloatArray, weight: FloatArray | None = None
) -> Recalibration:
    """Learn the curve from scores (n,) in [0, 1] and labels (n,) 0 or 1, all finite.

    A beta curve (Kull, Silva Filho and Flach 2017), unless from 5,000 effective rows on isotonic
    regression describes the labels better by more than its steps cost (Schwarz 1978): steps are
    flat beyond the scores they were learnt on, where a beta curve goes on rising. Its blocks have
    at least 100 rows and 20 labels of the rarer class on average, and there are ten. With fewer
    than 20 labels of the rarer class only a shift of log odds is learnt, and with no row at all
    the scores are believed.
    """
    ones = np.ones(len(score)) if weight is None else weight
    rows = effective_rows(ones)
    if not len(score):
        return Recalibration("beta", (1.0, 1.0, 0.0), (), 0.0)
    order = np.argsort(score, kind="stable")
    p, w = score[order], ones[order] * (rows / float(ones.sum()))
    first = np.flatnonzero(np.append(True, p[1:] != p[:-1]))
    return fit_cells(p[first], np.add.reduceat(w, first), np.add.reduceat(w * label[order], first))


def fit_cells(score: FloatArray, rows: FloatArray, positive: FloatArray) -> Recalibration:
    """The curve from distinct scores (c,) ascending, their rows and positives (c,), rows > 0."""
    total = float(rows.sum())
    ones = float(positive.sum())
    rare = min(ones, total - ones)
    curve = None
    if rare >= CURVE_MINORITY:
        curve = _beta(score, rows, positive, total)
    if total >= ISOTONIC_ROWS and rare >= BLOCK_EVENTS * ISOTONIC_BLOCKS:
        held = max(BLOCK_ROWS, BLOCK_EVENTS * total / rare)
        steps = _isotonic(score, rows, positive, total, held)
        if curve is None:
            return steps
        gain = _likelihood(steps, score, rows, positive) - _likelihood(curve, score, rows, positive)
        if gain > 0.5 * (len(steps.values) - 3) * np.log(total):
            return steps
    return curve or _shift(score, rows, positive, total)


def _likelihood(
    curve: Recalibration, score: FloatArray, rows: FloatArray, positive: FloatArray
) -> float:
    r = np.clip(curve.apply(score), SAFE, 1.0 - SAFE)
    return float(positive @ np.log(r) + (rows - positive) @ np.log1p(-r))


def _shift(
    score: FloatArray, rows: FloatArray, positive: FloatArray, total: float
) -> Recalibration:
    large = in_the_large(score, positive / rows, rows)
    moved = 0.0 if large is None else large.intercept
    return Recalibration("beta", (1.0, 1.0, moved), (), total)


def _beta(
    score: FloatArray, rows: FloatArray, positive: FloatArray, total: float
) -> Recalibration | None:
    """Both exponents at least 0: one that would fall below is left out, or both.

    None if the scores do not vary, so that no exponent can be learnt.
    """
    safe = np.clip(score, SAFE, 1.0 - SAFE)
    both = np.column_stack([np.log(safe), -np.log1p(-safe), np.ones(len(safe))])
    fitted = False
    for keep in ([0, 1, 2], [0, 2], [1, 2], [2]):
        fit = fit_logistic(both[:, keep], positive / rows, weight=rows)
        if fit is None or (keep == [2] and not fitted):
            continue
        fitted = True
        values = np.zeros(3)
        values[keep] = fit.coefficients
        if values[0] >= 0.0 and values[1] >= 0.0:
            return Recalibration("beta", tuple(float(value) for value in values), (), total)
    return None


def _isotonic(
    score: FloatArray, rows: FloatArray, positive: FloatArray, total: float, least: float
) -> Recalibration:
    from scipy.optimize import isotonic_regression

    starts = _block_starts(np.concatenate(([0.0], np.cumsum(rows))), least)
    held = np.add.reduceat(rows, starts)
    pooled = isotonic_regression(np.add.reduceat(positive, starts) / held, weights=held)
    blocks = np.asarray(pooled.blocks, dtype=np.int64)[:-1]
    block_rows = np.add.reduceat(held, blocks)
    # half a row of each class keeps a block that saw only one from meaning "never" or "always"
    rate = (np.asarray(pooled.x)[blocks] * block_rows + 0.5) / (block_rows + 1.0)
    rate = np.maximum.accumulate(rate)
    edges = score[starts[blocks[1:]]]
    return Recalibration(
        "isotonic",
        tuple(float(value) for value in rate),
        tuple(float(edge) for edge in edges),
        total,
    )


def _block_starts(reached: FloatArray, least: float) -> IntArray:
    """Cells where blocks of at least `least` rows begin; what is left over joins the last.

    `reached` (c + 1,) counts the rows before each cell, and all of them at its end.
    """
    starts = [0]
    while True:
        at = int(np.searchsorted(reached, reached[starts[-1]] + least - 1e-6))
        if at >= len(reached) - 1:
            break
        starts.append(at)
    if len(starts) > 1 and reached[-1] - reached[starts[-1]] < least:
        starts.pop()
    return np.array(starts, dtype=np.int64)
