"""Why the loss changed, column by column and in three steps with intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.findings.loss_change import by_column, explain_loss
from detectors.records import DAY_US, Categories, ColumnSpec, Kind, Schema, Task, Window

SCHEMA = Schema(Task.BINARY, (ColumnSpec("colour", Kind.CATEGORICAL),))


def coloured(red: int, blue: int) -> Window:
    codes = np.repeat([0, 1], [red, blue]).astype(np.int32)
    return Window(rows=red + blue, categorical={"colour": Categories(codes, ("red", "blue"))})


def test_a_column_costs_what_its_new_mix_costs_at_the_old_losses() -> None:
    """Half red at loss 1, half blue at 0; then nine in ten red: the mean rises from .5 to .9."""
    loss = np.repeat([1.0, 0.0], [50, 50])

    ((name, change),) = by_column(coloured(50, 50), coloured(90, 10), SCHEMA, loss)
    assert name == "colour"
    assert change == pytest.approx(0.4)
    assert by_column(coloured(50, 50), coloured(50, 50), SCHEMA, loss) == ()


def test_the_steps_add_up_and_days_are_drawn_where_there_are_enough() -> None:
    rng = np.random.default_rng(0)
    before, now = coloured(100, 100), coloured(150, 50)
    loss_ref, loss_cur = rng.exponential(0.4, 200), rng.exponential(0.6, 200)
    g = rng.uniform(0.3, 0.7, 200)

    rows = explain_loss(before, now, SCHEMA, loss_ref, g, loss_cur, g, 0)
    times = np.arange(200) * DAY_US // 20
    days = explain_loss(
        replace(before, ts_us=times), replace(now, ts_us=times), SCHEMA, loss_ref, g, loss_cur, g, 0
    )

    assert (rows.unit, days.unit) == ("rows", "days")
    assert rows.inputs + rows.concept + rows.unseen == pytest.approx(
        loss_cur.mean() - loss_ref.mean()
    )
    assert rows.concept_ci[0] < rows.concept < rows.concept_ci[1]
