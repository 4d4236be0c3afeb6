"""What the shape of a training curve says about how much of a model to freeze.

A transferred model whose training *and* validation losses stand still while a model with nothing
frozen does better has the wrong representation: more rows will not help, freeing layers or
another source may. One whose validation loss lies far above its training loss, ever farther,
remembers rows: freeze more. METHODS section 5.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from detectors.records import FloatArray

FLAT_A_DOUBLING = 0.01
NARROW_GAP = 0.05
WIDE_GAP = 0.20
FEWEST_SIZES = 3


class Signature(StrEnum):
    """The shape of a curve of training and validation loss over rows."""

    HIGH_BIAS = "high bias"
    WIDE_GAP = "wide gap"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class SignatureFinding:
    """A signature and what it means, in words."""

    signature: Signature
    words: str


def curve_signature(
    rows: FloatArray,
    train: FloatArray,
    validation: FloatArray,
    *,
    best_scratch: float | None = None,
    margin: float = 0.01,
) -> SignatureFinding | None:
    """Read losses (m,) measured after training on rows (m,), which ascend.

    `best_scratch` is the validation loss of the best unfrozen or from-scratch model; without it
    high bias cannot be told. `margin` is a share of it. None with fewer than three sizes.
    """
    known = np.isfinite(rows) & np.isfinite(train) & np.isfinite(validation) & (rows > 0)
    n, t, v = rows[known], train[known], validation[known]
    if len(np.unique(n)) < FEWEST_SIZES:
        return None
    doublings = np.log2(n)
    slopes = {name: _slope(doublings, y) for name, y in (("train", t), ("validation", v))}
    gap = (v - t) / np.maximum(v, 1e-300)
    flat = all(
        abs(slope) + 1.64 * error < FLAT_A_DOUBLING * level
        for (slope, error), level in zip(slopes.values(), (t.mean(), v.mean()), strict=True)
    )
    worse = best_scratch is not None and v[-1] - best_scratch > margin * best_scratch
    if flat and gap[-1] < NARROW_GAP and worse and best_scratch is not None:
        return SignatureFinding(
            Signature.HIGH_BIAS,
            f"training and validation loss change by less than 1 % a doubling of rows, and stay "
            f"{100 * (v[-1] - best_scratch) / best_scratch:.0f} % above an unfrozen model's: the "
            "representation is biased; freeze less, or take another source",
        )
    rising, _ = _slope(doublings, gap)
    if gap[-1] > WIDE_GAP and rising > 0.0:
        return SignatureFinding(
            Signature.WIDE_GAP,
            f"validation loss lies {100 * gap[-1]:.0f} % above training loss and the gap grows "
            "with rows: it overfits; freeze more",
        )
    return SignatureFinding(Signature.NEITHER, "the curve shows neither high bias nor a wide gap")


def _slope(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Least squares slope of y (m,) on x (m,), and its standard error (0 with two points)."""
    dx = x - x.mean()
    sxx = float(dx @ dx)
    slope = float(dx @ y) / sxx
    left = y - y.mean() - slope * dx
    freedom = len(x) - 2
    error = np.sqrt(float(left @ left) / freedom / sxx) if freedom > 0 else 0.0
    return slope, float(error)
