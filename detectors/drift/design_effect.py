"""How many rows are worth one: rows of a tick move together.

A million rows that share thirty days are not a million facts. The design effect is the variance
of a share between ticks over what independent rows would give (Kish 1965, ticks as clusters).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detectors.records import DAY_US, HOUR_US, BoolArray, FloatArray, IntArray, Schema, Window

MIN_TICKS = 8
"""With fewer ticks their spread says too little; 1 is used."""

TOP_VALUES = 8


def design_effects(
    window: Window, schema: Schema, *, tick_us: int | None = None
) -> Mapping[str, float]:
    """Design effect (>= 1) of every column of the schema, of "score" and of "prediction".

    Ticks are days where the window spans at least 14 of them, else hours, unless `tick_us` says
    otherwise. Without times, or with fewer than eight ticks, every effect is 1.
    """
    names = [*schema.numeric, *schema.categorical, "score", "prediction"]
    ticks = _ticks(window, tick_us)
    if ticks is None:
        return dict.fromkeys(names, 1.0)
    order, starts = ticks
    return {name: _effect(window, name, order, starts) for name in names}


def design_effect_of(window: Window, column: str, *, tick_us: int | None = None) -> float:
    """Design effect (>= 1) of one column of a window, by its name or "score"."""
    ticks = _ticks(window, tick_us)
    return 1.0 if ticks is None else _effect(window, column, *ticks)


def _ticks(window: Window, tick_us: int | None) -> tuple[IntArray | None, IntArray] | None:
    """Row order by time (None: already) and the first row of each tick."""
    if window.ts_us is None or window.rows < 2 * MIN_TICKS:
        return None
    times = window.ts_us
    order = None if bool((times[1:] >= times[:-1]).all()) else np.argsort(times, kind="stable")
    times = times if order is None else times[order]
    if tick_us is None:
        tick_us = DAY_US if int(times[-1] - times[0]) >= 14 * DAY_US else HOUR_US
    tick = times // tick_us
    starts = np.flatnonzero(np.concatenate([[True], tick[1:] != tick[:-1]]))
    return (order, starts) if len(starts) >= MIN_TICKS else None


def _effect(window: Window, column: str, order: IntArray | None, starts: IntArray) -> float:
    shares: list[BoolArray] = []
    present: BoolArray | None = None
    numbers = window.score if column == "score" else window.numeric.get(column)
    categories = window.prediction if column == "prediction" else window.categorical.get(column)
    if numbers is not None:
        present = ~np.isnan(numbers)
        sampled = numbers[present][:: max(1, len(numbers) // 20_000)]
        if not len(sampled):
            return 1.0
        cuts = np.unique(np.quantile(sampled, [0.25, 0.5, 0.75], method="inverted_cdf"))
        shares = [numbers <= cut for cut in cuts]
    elif categories is not None and len(categories.values):
        present = categories.codes >= 0
        counts = np.bincount(categories.codes[present], minlength=1)
        top = np.argsort(-counts, kind="stable")[:TOP_VALUES]
        shares = [categories.codes == code for code in top if counts[code]]
    if present is None:
        return 1.0
    if order is not None:
        present, shares = present[order], [share[order] for share in shares]
    rows = np.add.reduceat(present, starts, dtype=np.int64).astype(float)
    between = within = 0.0
    for share in shares:
        hits = np.add.reduceat(share, starts, dtype=np.int64).astype(float)
        cluster, binomial = _variances(hits, rows)
        between, within = between + cluster, within + binomial
    return max(1.0, float(between / within)) if within > 0 else 1.0


def _variances(hits: FloatArray, rows: FloatArray) -> tuple[float, float]:
    """Variance of a share with ticks as the unit, and with rows as the unit."""
    total = rows.sum()
    if total <= 0:
        return 0.0, 0.0
    share = hits.sum() / total
    ticks = len(rows)
    cluster = ticks / (ticks - 1) * float(np.sum((hits - share * rows) ** 2)) / total**2
    return cluster, float(share * (1 - share) / total)
