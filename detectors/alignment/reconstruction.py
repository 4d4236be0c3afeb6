"""How far rows lie off the plane that the reference's rows spread over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray

VARIANCE = 0.65


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Scaling (d,) and the directions (k, d) that hold .65 of the reference's variance."""

    mean: FloatArray
    scale: FloatArray
    directions: FloatArray


def fit_plane(reference: FloatArray) -> Plane:
    """The plane of finite rows reference (n, d)."""
    mean, spread = reference.mean(axis=0), reference.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    variance, directions = np.linalg.eigh(np.cov((reference - mean) / scale, rowvar=False, ddof=0))
    share = np.cumsum(variance[::-1]) / variance.sum()
    k = int(np.searchsorted(share, VARIANCE) + 1)
    return Plane(mean, scale, directions.T[::-1][:k])


def distance_off(plane: Plane, rows: FloatArray) -> FloatArray:
    """Distance (n,) of rows (n, d) from the plane, in reference sd; null is the mean."""
    z = np.nan_to_num((rows - plane.mean) / plane.scale, nan=0.0, posinf=0.0, neginf=0.0)
    off = z - (z @ plane.directions.T) @ plane.directions
    distance: FloatArray = np.linalg.norm(off, axis=1)
    return distance
