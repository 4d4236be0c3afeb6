"""Compare the embeddings of two windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detectors.alignment.staleness import other_width
from detectors.drift.column import ColumnComparison, Effect, Measured, conclude
from detectors.drift.mmd import discrepancy
from detectors.records import DAY_US, HOUR_US, IntArray, State, Window

MAX_ROWS = 10_000
PRACTICAL = 0.1
"""A tenth of the spread of rows, in the space of the kernel."""

MIN_TICKS = 8


def compare_embeddings(reference: Window, current: Window, *, seed: int = 0) -> ColumnComparison:
    """Compare embeddings (n, d) as one more column, named "embedding".

    `effect` is the maximum mean discrepancy over the spread of rows. At most 10,000 rows of each
    window are looked at, evenly spaced; rows with a value that is not finite count as null. The
    p-value permutes whole ticks where both windows have times and at least eight of them.
    """
    shares = null_before, null_now = _null_share(reference), _null_share(current)
    comparison = ColumnComparison(
        name="embedding",
        kind="embedding",
        state=State.UNDETERMINED,
        null_share=shares,
        rows=(reference.rows, current.rows),
    )
    if reference.embedding is None or current.embedding is None:
        which = "reference" if reference.embedding is None else "current window"
        return conclude(Measured(comparison, (), (f"no embedding in the {which}",)), rejected=False)
    if reference.embedding.shape[1] != current.embedding.shape[1]:
        remark = other_width(reference, current)
        changed = replace(comparison, state=State.DRIFT if remark else State.UNDETERMINED)
        return conclude(Measured(changed, (), (remark or "no rows",)), rejected=False)
    rows, rows_now = _usable(reference.embedding), _usable(current.embedding)
    if min(len(rows), len(rows_now)) < 2:
        remark = f"too little data: {len(rows_now)} finite rows against {len(rows)}"
        return conclude(Measured(comparison, (), (remark,)), rejected=False)
    found = discrepancy(
        reference.embedding[rows],
        current.embedding[rows_now],
        blocks=_ticks(reference, rows, current, rows_now),
        seed=seed,
    )
    remarks = tuple(
        f"{100 * share:.3g} % of rows in the {name} are not finite"
        for share, name in ((null_before, "reference"), (null_now, "current window"))
        if share
    )
    effect = Effect(
        what="the distance of the mean embeddings, in spreads of rows,",
        estimate=found.effect,
        low=found.effect_ci[0],
        high=found.effect_ci[1],
        practical=PRACTICAL,
        p_value=found.p_value,
        words=f"embeddings moved by {found.effect:.2g} times the spread of rows",
    )
    measured = Measured(
        ColumnComparison(
            name="embedding",
            kind="embedding",
            state=State.UNDETERMINED,
            effect=found.effect,
            effect_ci=found.effect_ci,
            p_value=found.p_value,
            null_share=shares,
            rows=(reference.rows, current.rows),
            effective_rows=(float(len(rows)), float(len(rows_now))),
        ),
        (effect,),
        remarks,
    )
    return conclude(measured, rejected=found.p_value <= 0.05)


def _usable(embedding: NDArray[np.float32]) -> IntArray:
    """At most 10,000 finite rows, evenly spaced."""
    finite = np.flatnonzero(np.isfinite(embedding).all(axis=1))
    if len(finite) > MAX_ROWS:
        finite = finite[np.linspace(0, len(finite) - 1, MAX_ROWS).round().astype(np.int64)]
    return finite.astype(np.int64)


def _null_share(window: Window) -> float | None:
    if window.embedding is None or not window.rows:
        return None
    return 1.0 - float(np.isfinite(window.embedding).all(axis=1).mean())


def _ticks(
    reference: Window, rows: IntArray, current: Window, rows_now: IntArray
) -> tuple[IntArray, IntArray] | None:
    if reference.ts_us is None or current.ts_us is None:
        return None
    times, times_now = reference.ts_us[rows], current.ts_us[rows_now]
    span = min(int(np.ptp(times)), int(np.ptp(times_now)))
    tick_us = DAY_US if span >= 14 * DAY_US else HOUR_US
    blocks = times // tick_us, times_now // tick_us
    return blocks if min(len(np.unique(block)) for block in blocks) >= MIN_TICKS else None
