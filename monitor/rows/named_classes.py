"""Labels that name the true class, as they are stored, and as the pipeline reads them.

A stored label is a number: 0 and 1 say whether the predicted class was right, 2 + k that the k-th
of the model's classes was the true one. Rows are read with label 0 or 1 and the class beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detectors.records import Categories, FloatArray, Window

FIRST_CLASS = 2


def numbered(names: Sequence[str | float | None], classes: Sequence[str]) -> FloatArray:
    """Labels (n,) as stored: names of classes by their number, NaN for what names none of them."""
    places = {name: float(FIRST_CLASS + at) for at, name in enumerate(classes)}
    return np.array(
        [
            places.get(name, np.nan) if isinstance(name, str) else np.nan if name is None else name
            for name in names
        ],
        dtype=np.float64,
    )


def with_true_classes(window: Window, classes: Sequence[str]) -> Window:
    """Rows whose labels say 0 or 1, the class that was right beside them where it is known."""
    if not classes or window.label is None or window.truth is not None:
        return window
    named = window.label >= FIRST_CLASS
    number = np.where(named, window.label - FIRST_CLASS, -1.0)
    codes = np.where(number < len(classes), number, -1.0).astype(np.int32)
    said = np.full(window.rows, -1, np.int32)
    if window.prediction is not None:
        places = {name: at for at, name in enumerate(classes)}
        places_of = [places.get(value, -1) for value in window.prediction.values]
        said = np.array([*places_of, -1], np.int32)[window.prediction.codes]
    right = np.where(said == codes, 1.0, 0.0)
    return replace(
        window,
        label=np.where(named, right, window.label),
        truth=Categories(codes, tuple(classes)),
    )
