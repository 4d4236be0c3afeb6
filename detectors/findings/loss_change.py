"""Why the loss changed, for people: three steps with intervals, and what a column's mix cost."""

from __future__ import annotations

import numpy as np

from detectors.findings.cells import cell_pair
from detectors.findings.decomposition import decompose
from detectors.records import DAY_US, FloatArray, IntArray, LossChange, Schema, Window

FEWEST_DAYS = 8
DRAWS = 400
SHOWN = 5
LEAST_SHARE = 0.02
"""A column is worth a line if its mix alone costs this share of the reference's loss."""


def explain_loss(
    before: Window,
    now: Window,
    schema: Schema,
    loss_ref: FloatArray,
    g_ref: FloatArray,
    loss_cur: FloatArray,
    g_cur: FloatArray,
    seed: int,
) -> LossChange:
    """Losses and g are (n,) of `before` and (m,) of `now`, row by row; g as in `decompose`."""
    days = _days(before, now)
    terms = decompose(loss_ref, g_ref, loss_cur, g_cur, seed=seed, bootstraps=DRAWS, blocks=days)
    return LossChange(
        before=terms.reference,
        after=terms.current,
        inputs=terms.inputs,
        concept=terms.concept,
        unseen=terms.unseen,
        inputs_ci=terms.inputs_ci,
        concept_ci=terms.concept_ci,
        unseen_ci=terms.unseen_ci,
        unit="rows" if days is None else "days",
        columns=by_column(before, now, schema, loss_ref),
    )


def by_column(
    before: Window, now: Window, schema: Schema, loss_ref: FloatArray
) -> tuple[tuple[str, float], ...]:
    """Change of the mean loss had only that column's shares of cells moved, the largest first.

    A cell keeps the mean loss it had in the reference (n,); cells the reference has not keep the
    overall mean. At most five columns, and none below 2 % of the reference's loss.
    """
    overall = float(loss_ref.mean())
    found = []
    for column in schema.columns:
        left, right, names = cell_pair(before, now, column)
        rows = np.bincount(left, minlength=len(names))
        sums = np.bincount(left, weights=loss_ref, minlength=len(names))
        mean = np.where(rows > 0, sums / np.maximum(rows, 1), overall)
        share = np.bincount(right, minlength=len(names)) / len(right)
        change = float((share - rows / len(left)) @ mean)
        if abs(change) >= LEAST_SHARE * overall:
            found.append((column.name, change))
    return tuple(sorted(found, key=lambda one: -abs(one[1]))[:SHOWN])


def _days(before: Window, now: Window) -> tuple[IntArray, IntArray] | None:
    """The day of every row, where both windows span at least eight."""
    if before.ts_us is None or now.ts_us is None:
        return None
    days = before.ts_us // DAY_US, now.ts_us // DAY_US
    return days if min(len(np.unique(one)) for one in days) >= FEWEST_DAYS else None
