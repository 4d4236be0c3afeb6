"""Population stability index: shown because people know it, judged by its own noise."""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray


def smoothed_shares(counts: FloatArray) -> FloatArray:
    """Counts (cells,) as shares with half a row added to every cell, so that no share is zero."""
    padded: FloatArray = np.asarray(counts, float) + 0.5
    shares: FloatArray = padded / padded.sum()
    return shares


def psi(reference: FloatArray, current: FloatArray) -> float:
    """Sum of (q - p) ln(q / p) over cells, from counts (cells,) in either window.

    An empty cell would make the index infinite: half a row is then added to every cell of both.
    """
    reference, current = np.asarray(reference, float), np.asarray(current, float)
    if (reference > 0).all() and (current > 0).all():
        p, q = reference / reference.sum(), current / current.sum()
    else:
        p, q = smoothed_shares(reference), smoothed_shares(current)
    return float(np.sum((q - p) * np.log(q / p)))


def psi_noise_floor(cells: int, rows_reference: float, rows_current: float) -> float:
    """What the index is on average when nothing changed: (cells - 1)(1/n + 1/m).

    The familiar cut-offs .1 and .2 know nothing of it (Yurdakul and Naranjo 2020).
    """
    if rows_reference <= 0 or rows_current <= 0:
        return float("inf")
    return (cells - 1) * (1.0 / rows_reference + 1.0 / rows_current)
