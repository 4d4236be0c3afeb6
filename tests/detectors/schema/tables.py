"""A small table whose columns depend on each other, as those of real tables do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detectors.records import Categories, ColumnSpec, FloatArray, Kind, Schema, Task, Window

SCHEMA = Schema(
    Task.BINARY,
    (
        ColumnSpec("price", Kind.NUMERIC),
        ColumnSpec("visits", Kind.NUMERIC),
        ColumnSpec("food", Kind.CATEGORICAL),
    ),
)
FOODS = ("Vegetables", "Fruit", "Bread", "Cheese", "Fish", "Spice")
SHARES = np.array([0.3, 0.25, 0.2, 0.12, 0.08, 0.05])


def table(seed: int, rows: int = 4000) -> Window:
    """Each food has its own price, visits and label rate."""
    rng = np.random.default_rng(seed)
    food = rng.choice(len(FOODS), rows, p=SHARES)
    price = np.exp(rng.normal(1 + 0.5 * food, 0.4))
    visits = rng.poisson(1.0 + food).astype(float)
    label = (rng.random(rows) < 0.1 + 0.12 * food).astype(float)
    return Window(
        rows=rows,
        numeric={"price": price, "visits": visits},
        categorical={"food": Categories(food.astype(np.int32), FOODS)},
        label=label,
    )


def with_numbers(window: Window, name: str, values: FloatArray) -> Window:
    return replace(window, numeric={**window.numeric, name: values})


def with_foods(window: Window, renamed: dict[str, str]) -> Window:
    """The window with foods under other names; two may get one name."""
    food = window.categorical["food"]
    names = [renamed.get(value, value) for value in food.values]
    words = tuple(dict.fromkeys(names))
    lookup = np.array([words.index(name) for name in names], dtype=np.int32)
    return replace(window, categorical={"food": Categories(lookup[food.codes], words)})
