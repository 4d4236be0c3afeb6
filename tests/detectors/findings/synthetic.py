"""Windows of a small world whose truth is known: two numbers, a category, a perfect model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detectors.records import (
    Categories,
    ColumnSpec,
    FloatArray,
    Kind,
    Schema,
    Task,
    Window,
)

COLUMNS = (
    ColumnSpec("age", Kind.NUMERIC),
    ColumnSpec("hours", Kind.NUMERIC),
    ColumnSpec("region", Kind.CATEGORICAL),
)
BINARY = Schema(Task.BINARY, COLUMNS)
REGRESSION = Schema(Task.REGRESSION, COLUMNS)
REGIONS = ("north", "south", "east", "west")
EFFECT = np.array([-0.8, 0.6, 0.0, 0.3])


def logit(p: FloatArray) -> FloatArray:
    found: FloatArray = np.log(p) - np.log1p(-p)
    return found


def sigmoid(z: FloatArray) -> FloatArray:
    found: FloatArray = 1 / (1 + np.exp(-z))
    return found


def world(rows: int, seed: int, *, age_mean: float = 0.0, pool: int = 1) -> Window:
    """Rows whose score is the true P(label = 1)."""
    rng = np.random.default_rng(seed)
    age = rng.normal(age_mean, 1, rows * pool)
    hours = rng.normal(0, 1, rows * pool)
    region = rng.choice(4, rows * pool, p=[0.4, 0.3, 0.2, 0.1]).astype(np.int32)
    p = sigmoid(1.2 * age + 0.6 * hours + EFFECT[region] - 0.2)
    return Window(
        rows=rows * pool,
        score=p,
        label=(rng.random(rows * pool) < p).astype(np.float64),
        numeric={"age": age, "hours": hours},
        categorical={"region": Categories(region, REGIONS)},
    )


def scores(window: Window) -> FloatArray:
    assert window.score is not None
    return window.score


def labels(window: Window) -> FloatArray:
    assert window.label is not None
    return window.label


def flipped(window: Window, where: NDArray[np.floating]) -> Window:
    """Each label turned over with probability `where` (n,)."""
    assert window.label is not None
    turn = np.random.default_rng(99).random(window.rows) < where
    return replace(window, label=np.where(turn, 1 - window.label, window.label))


def oversampled(rows: int, seed: int, *, odds: float) -> Window:
    """A world in which label 1 is `odds` times as likely to be seen: pure label shift."""
    world_ = world(rows, seed, pool=6)
    assert world_.label is not None
    weight = np.where(world_.label == 1, odds, 1.0)
    chosen = np.random.default_rng(seed).choice(
        world_.rows, rows, replace=False, p=weight / weight.sum()
    )
    return world_.take(chosen)


def tilted(rows: int, seed: int) -> Window:
    """A world in which rows with age above zero are four times as likely to be seen."""
    world_ = world(rows, seed, pool=6)
    weight = np.where(world_.numeric["age"] > 0, 4.0, 1.0)
    chosen = np.random.default_rng(seed).choice(
        world_.rows, rows, replace=False, p=weight / weight.sum()
    )
    return world_.take(chosen)


def valued(rows: int, seed: int, *, shift: float = 0.0, age_effect: float = 2.0) -> Window:
    """A regression world: the prediction is 2 age + hours, whatever the truth has become."""
    rng = np.random.default_rng(seed)
    age, hours = rng.normal(0, 1, (2, rows))
    return Window(
        rows=rows,
        score=2.0 * age + hours,
        label=age_effect * age + hours + shift + rng.normal(0, 1, rows),
        numeric={"age": age, "hours": hours},
        categorical={"region": Categories(np.zeros(rows, np.int32), REGIONS)},
    )
