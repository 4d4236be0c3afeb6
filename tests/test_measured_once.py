"""The tests' own memory of what was measured: it must never say of one window what another was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors.findings.contrasts import Contrasts
from detectors.records import Categories, ColumnSpec, Kind, Schema, Task, Window
from tests.measured_once import remembering

SCHEMA = Schema(
    Task.BINARY,
    (ColumnSpec("age", Kind.NUMERIC), ColumnSpec("job", Kind.CATEGORICAL)),
    has_score=True,
    has_baseline=False,
)

CODES = np.array([0, 1, 0, 1], np.int32)


def window(rows: int = 4) -> Window:
    return Window(
        rows,
        ts_us=np.arange(rows),
        score=np.linspace(0.1, 0.9, rows),
        label=np.array([0.0, np.nan] * (rows // 2)),
        numeric={"age": np.arange(rows, dtype=float)},
        categorical={"job": Categories(np.arange(rows, dtype=np.int32) % 2, ("nurse", "cook"))},
    )


def asked(*pairs: tuple[Window, Window, Schema, dict[str, Any]]) -> int:
    """How many of the pairs were measured."""
    measured = []

    def measure(reference: Window, current: Window, schema: Schema, **more: Any) -> Contrasts:
        measured.append((reference, current, schema, more))
        return Contrasts(schema.task, reference.rows, current.rows)

    once = remembering(measure, {})
    for reference, current, schema, more in pairs:
        assert once(reference, current, schema, **more).rows_cur == current.rows
    return len(measured)


def test_equal_columns_are_measured_once_whoever_made_them() -> None:
    named = replace(window(), domain=Categories(np.zeros(4, np.int32), ("north",)))
    usual = (window(), window(), SCHEMA, {"seed": 0})
    assert asked(usual, (window(), named, SCHEMA, {"seed": 0}), usual) == 1


@pytest.mark.parametrize(
    "other",
    [
        (window(), window(6), SCHEMA, {"seed": 0}),
        (window(6), window(), SCHEMA, {"seed": 0}),
        (window(), window().take(np.array([1, 0, 2, 3])), SCHEMA, {"seed": 0}),
        (window(), replace(window(), label=None), SCHEMA, {"seed": 0}),
        (window(), replace(window(), numeric={"age": np.full(4, -0.0)}), SCHEMA, {"seed": 0}),
        (
            window(),
            replace(window(), categorical={"job": Categories(CODES, ("nurse", "clerk"))}),
            SCHEMA,
            {"seed": 0},
        ),
        (window(), window(), replace(SCHEMA, has_label=False), {"seed": 0}),
        (window(), window(), SCHEMA, {"seed": 1}),
        (window(), window(), SCHEMA, {"seed": 0, "design_effect": 2.0}),
    ],
)
def test_whatever_differs_is_measured_by_itself(
    other: tuple[Window, Window, Schema, dict[str, Any]],
) -> None:
    assert asked((window(), window(), SCHEMA, {"seed": 0}), other) == 2
