"""The leading principal components of an embedding, so that trees can read it as a few columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.records import FloatArray, Window

EMBEDDING = "embedding"
COMPONENTS = 8
"""Ten thousand rows of 8 columns keep the two-sample test quick; a shift of the mean of an
embedding of some width shows in the first few, as directions of large variance."""

FIT_ROWS = 1_000
"""Rows of each window that the directions are found on."""


def leading_components(reference: Window, current: Window) -> tuple[FloatArray, ...]:
    """Up to 8 columns (n + m,) of both windows' embeddings, the largest variance first.

    Directions are those of both windows together: which row is of which window is not looked
    at, so that a cross-fitted classifier stays honest, and a shift away from the reference's own
    plane is still seen. Rows with a value that is not finite are null. Nothing where either
    window has no embedding, or their dimensions differ.
    """
    before, now = reference.embedding, current.embedding
    if before is None or now is None or before.shape[1] != now.shape[1]:
        return ()
    finite_before = np.flatnonzero(np.isfinite(before).all(axis=1))
    finite_now = np.flatnonzero(np.isfinite(now).all(axis=1))
    if min(len(finite_before), len(finite_now)) < 2:
        return ()
    rows = np.concatenate(
        [before[_evenly(finite_before)], now[_evenly(finite_now)]], dtype=np.float64
    )
    centre = rows.mean(axis=0)
    variance, directions = np.linalg.eigh((rows - centre).T @ (rows - centre))
    large = variance[::-1][:COMPONENTS] > 1e-12 * max(float(variance[-1]), 1e-300)
    kept = directions.T[::-1][:COMPONENTS][large]
    joined = np.full((len(before) + len(now), len(kept)), np.nan)
    joined[finite_before] = (before[finite_before] - centre) @ kept.T
    joined[len(before) + finite_now] = (now[finite_now] - centre) @ kept.T
    return tuple(joined.T)


def _evenly(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    if len(rows) <= FIT_ROWS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, FIT_ROWS).round().astype(np.intp)]
