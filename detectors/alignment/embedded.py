"""An embedding as a few numbers a row, so that ticks can be summed and streams can follow it.

Three questions, each with its answer for the reference frozen in an `EmbeddingMap`. Has the whole
distribution moved (mean random Fourier features, whose distance is the maximum mean discrepancy)?
Do rows lie farther off the plane that the reference spread over (principal components)? Do rows
still point the way of the class they are predicted to be in (cosine to the class centre, the
reference's mean taken off)?

Plane and centres are fitted on the first fifth of the reference, by time where it has times: they
lie closer to the rows they were fitted on, so what is usual is read off the other four fifths,
and a level that is a median of the reference's ticks hardly sees the fifth that lies too close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.alignment.reconstruction import Plane, distance_off, fit_plane
from detectors.drift.mmd import bandwidth_of, features
from detectors.records import BoolArray, FloatArray, IntArray, Task, Window

DISCREPANCY, OFF_PLANE, TOWARDS_CLASS = "@embedding", "@embedding off plane", "@embedding to class"
"""Names under which ticks keep sums; a feature may itself be called "embedding"."""

COLUMNS = (OFF_PLANE, TOWARDS_CLASS)
SHOWN = {DISCREPANCY: "embedding", OFF_PLANE: "embedding", TOWARDS_CLASS: "embedding"}

KERNEL_FEATURES = 128
FIRST = 0.2
FEWEST = 100
ROWS_A_DIMENSION = 10
"""Rows that a plane is fitted on, for each dimension: with fewer it fits their noise."""

MOST_ROWS = 10_000
MOST_CLASSES = 50
FEWEST_OF_A_CLASS = 20
ROWS_A_NOISE = 10.0
"""Rows that a centre needs for each unit of (total variance / squared length), as in centroids."""


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """The reference's embedding (·, d), frozen. `centres` (c, d) are unit vectors from `mean`.

    `plane` is None where the reference has too few rows for one. Classes are those predicted: by
    name, or below and above `cut` of the score where there are no names; none where neither is
    recorded. `kernel_mean` (D,) with the total variance of features and its degrees of freedom.
    """

    mean: FloatArray
    plane: Plane | None
    classes: tuple[str, ...]
    cut: float
    centres: FloatArray
    bandwidth: float
    kernel_mean: FloatArray
    kernel_spread: float
    freedom: float

    @property
    def dimensions(self) -> int:
        return len(self.mean)

    @property
    def columns(self) -> tuple[str, ...]:
        """The numbers that each row gets."""
        return tuple(
            name
            for name, there in zip(COLUMNS, (self.plane, len(self.centres)), strict=True)
            if there
        )

    def numbers(self, window: Window) -> dict[str, FloatArray]:
        """Each of `columns` (n,); NaN where a row has no embedding, or one of another width."""
        rows = self.rows(window)
        if rows is None:
            return {name: np.full(window.rows, np.nan) for name in self.columns}
        gone: BoolArray = ~np.asarray(np.isfinite(rows).all(axis=1))
        filled = np.where(gone[:, None], self.mean, rows.astype(np.float64))
        found: dict[str, FloatArray] = {}
        if self.plane is not None:
            found[OFF_PLANE] = distance_off(self.plane, filled)
        if len(self.centres):
            found[TOWARDS_CLASS] = self._cosines(filled, window)
        return {name: np.where(gone, np.nan, column) for name, column in found.items()}

    def kernel_sums(self, window: Window) -> FloatArray:
        """Sums (2, 1 + D): of weight and weighted features, and of the squared weight below."""
        sums = np.zeros((2, 1 + KERNEL_FEATURES))
        rows = self.rows(window)
        if rows is None:
            return sums
        known = np.isfinite(rows).all(axis=1)
        weight = window.weights()[known]
        mapped = features(rows[known], self.mean, self.bandwidth, KERNEL_FEATURES)
        sums[0, 0], sums[1, 0] = weight.sum(), (weight**2).sum()
        sums[0, 1:] = weight @ mapped
        return sums

    def class_of(self, window: Window) -> NDArray[np.int64]:
        """The place (n,) of each row's predicted class, -1 for one that is not known."""
        return _class_of(window, self.classes, self.cut)

    def rows(self, window: Window) -> NDArray[np.float32] | None:
        """The window's embedding, if it is one that this map can read."""
        rows = window.embedding
        return rows if rows is not None and rows.shape[1] == self.dimensions else None

    def _cosines(self, rows: FloatArray, window: Window) -> FloatArray:
        at = self.class_of(window)
        apart = rows - self.mean
        size = np.linalg.norm(apart, axis=1)
        along = (apart * self.centres[np.maximum(at, 0)]).sum(axis=1)
        cosine = np.divide(along, size, out=np.full(len(rows), np.nan), where=size > 0)
        # A class that the reference had too few rows of has a centre of zeros.
        unknown = (at < 0) | ~self.centres[np.maximum(at, 0)].any(axis=1)
        return np.where(unknown, np.nan, cosine)

    def described(self) -> dict[str, Any]:
        """What of the map is no array, for the profile's header."""
        return {
            "classes": list(self.classes),
            "cut": None if np.isnan(self.cut) else self.cut,
            "bandwidth": self.bandwidth,
            "kernel_spread": self.kernel_spread,
            "freedom": self.freedom,
            "plane": self.plane is not None,
        }

    def arrays(self) -> dict[str, FloatArray]:
        """The arrays of the map, by the names `of` reads them by."""
        found = {"mean": self.mean, "centres": self.centres, "kernel_mean": self.kernel_mean}
        if self.plane is not None:
            found |= {"scale": self.plane.scale, "directions": self.plane.directions}
            found["plane_mean"] = self.plane.mean
        return {f"embedding:{name}": array for name, array in found.items()}

    @classmethod
    def of(cls, described: dict[str, Any], arrays: dict[str, Any]) -> Self:
        """The map again from what `described` and `arrays` gave."""
        found = {
            name.removeprefix("embedding:"): array
            for name, array in arrays.items()
            if name.startswith("embedding:")
        }
        plane = None
        if described["plane"]:
            plane = Plane(found["plane_mean"], found["scale"], found["directions"])
        cut = described["cut"]
        return cls(
            mean=found["mean"],
            plane=plane,
            classes=tuple(described["classes"]),
            cut=np.nan if cut is None else cut,
            centres=found["centres"],
            bandwidth=described["bandwidth"],
            kernel_mean=found["kernel_mean"],
            kernel_spread=described["kernel_spread"],
            freedom=described["freedom"],
        )


def fit_map(reference: Window, task: Task) -> EmbeddingMap | None:
    """Freeze a reference's embedding; None where fewer than 100 of its rows have a finite one."""
    if reference.embedding is None:
        return None
    known = np.flatnonzero(np.isfinite(reference.embedding).all(axis=1))
    if len(known) < FEWEST:
        return None
    known = known[:: max(1, len(known) // MOST_ROWS)]
    window = reference.take(known)
    assert window.embedding is not None
    mean = window.embedding.mean(axis=0, dtype=np.float64)
    first = window.take(first_fifth(window))
    assert first.embedding is not None
    fitted = first.embedding.astype(np.float64)
    planar = len(mean) > 1 and len(fitted) >= ROWS_A_DIMENSION * len(mean)
    classes, cut = _classes(window, task)
    at = _class_of(first, classes, cut)
    centres = np.zeros((0, len(mean)))
    if (at >= 0).any():
        count = max(len(classes), 2)
        centres = np.stack([_direction(fitted[at == one] - mean) for one in range(count)])
        centres = centres if centres.any() else centres[:0]
    bandwidth = bandwidth_of(window.embedding)
    mapped = features(window.embedding, mean, bandwidth, KERNEL_FEATURES).astype(np.float64)
    kernel_mean = mapped.mean(axis=0)
    covariance = (mapped - kernel_mean).T @ (mapped - kernel_mean) / max(len(mapped) - 1, 1)
    spread, squares = float(np.trace(covariance)), float(np.square(covariance).sum())
    return EmbeddingMap(
        mean=mean,
        plane=fit_plane(fitted) if planar else None,
        classes=classes,
        cut=cut,
        centres=centres,
        bandwidth=bandwidth,
        kernel_mean=kernel_mean,
        kernel_spread=spread,
        freedom=spread**2 / squares if squares > 0 else 1.0,
    )


def first_fifth(window: Window) -> IntArray:
    """The rows (·,) that plane and centres are fitted on."""
    count = int(FIRST * window.rows)
    if window.ts_us is None:
        return np.arange(count)
    return np.argsort(window.ts_us, kind="stable")[:count].astype(np.int64)


def other_rows(window: Window) -> Window:
    """The rows that they are not fitted on: what is usual."""
    rest = np.ones(window.rows, np.bool_)
    rest[first_fifth(window)] = False
    return window.take(rest)


def _direction(apart: FloatArray) -> FloatArray:
    """The unit vector towards the mean of rows (n, d); zeros where they are too few to have one."""
    if len(apart) < FEWEST_OF_A_CLASS:
        return np.zeros(apart.shape[1])
    centre = apart.mean(axis=0)
    noise = float(apart.var(axis=0, ddof=1).sum())
    length2 = float(centre @ centre) - noise / len(apart)
    if length2 <= 0 or len(apart) < ROWS_A_NOISE * noise / length2:
        return np.zeros_like(centre)
    return np.asarray(centre / np.linalg.norm(centre))


def _classes(window: Window, task: Task) -> tuple[tuple[str, ...], float]:
    """The names of predicted classes, or where scores are cut in two; ((), NaN): neither."""
    if task is Task.MULTICLASS and window.prediction is not None:
        codes = window.prediction.codes
        counts = np.bincount(codes[codes >= 0], minlength=len(window.prediction.values))
        common = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
        named = tuple(window.prediction.values[at] for at in common if counts[at])
        return named, np.nan
    if task is Task.MULTICLASS or window.score is None or not np.isfinite(window.score).any():
        return (), np.nan
    return (), float(np.nanmedian(window.score))


def _class_of(window: Window, classes: tuple[str, ...], cut: float) -> NDArray[np.int64]:
    """The place (n,) of each row's predicted class, -1 for one that is not known."""
    if classes:
        if window.prediction is None:
            return np.full(window.rows, -1, np.int64)
        place = {name: at for at, name in enumerate(classes)}
        lookup = [*(place.get(name, -1) for name in window.prediction.values), -1]
        return np.array(lookup, np.int64)[window.prediction.codes]
    if np.isnan(cut) or window.score is None:
        return np.full(window.rows, -1, np.int64)
    return np.where(np.isfinite(window.score), (window.score > cut).astype(np.int64), -1)
