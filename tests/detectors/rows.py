"""Small made-up windows for tests of summaries and streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.records import Categories, ColumnSpec, FloatArray, Kind, Schema, Task, Window

CARRIERS = ("AA", "B6", "DL", "UA")
SHARES = (0.5, 0.3, 0.15, 0.05)

SCHEMA = Schema(
    Task.BINARY,
    (
        ColumnSpec("distance", Kind.NUMERIC),
        ColumnSpec("rain", Kind.NUMERIC),
        ColumnSpec("carrier", Kind.CATEGORICAL),
    ),
    slices=(("carrier",),),
)


def words(values: Sequence[str | None]) -> Categories:
    """A categorical column from Python strings, None being null."""
    known = tuple(dict.fromkeys(value for value in values if value is not None))
    codes = [-1 if value is None else known.index(value) for value in values]
    return Categories(np.array(codes, dtype=np.int32), known)


def flights(
    rng: np.random.Generator,
    rows: int,
    *,
    nulls: float = 0.2,
    labels: bool = True,
    weight: FloatArray | None = None,
) -> Window:
    """Rows of a calibrated binary model beside a noisier baseline."""
    distance = rng.normal(800.0, 300.0, rows)
    distance[rng.random(rows) < nulls] = np.nan
    rain = np.where(rng.random(rows) < 0.7, 0.0, rng.exponential(size=rows))
    logit = rng.normal(-1.0, 1.0, rows)
    score = 1.0 / (1.0 + np.exp(-logit))
    baseline = 1.0 / (1.0 + np.exp(-logit - rng.normal(0.0, 0.7, rows)))
    label = (rng.random(rows) < score).astype(np.float64)
    return Window(
        rows=rows,
        score=score,
        baseline_score=baseline,
        label=label if labels else None,
        weight=weight,
        numeric={"distance": distance, "rain": rain},
        categorical={
            "carrier": Categories(rng.choice(4, rows, p=SHARES).astype(np.int32), CARRIERS)
        },
    )
