"""Which rows a diagnosis looks at: few enough to be quick, and fair to sampled rows."""

from __future__ import annotations

import numpy as np

from detectors.records import Window

REFERENCE_ROWS = 6_000
CURRENT_ROWS = 5_000
WEIGHT_QUANTILE = 0.99


def draw_rows(window: Window, limit: int, seed: int) -> Window:
    """At most `limit` rows, each kept with probability proportional to its weight.

    Rows sampled at different rates are thinned back to one rate, so what follows may treat
    them as one simple random sample; weights above their .99 quantile count as that quantile.
    The order of rows is kept. The same seed draws the same rows.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(window.rows)
    if window.weight is not None and window.rows and np.ptp(window.weight) > 0:
        share = window.weight / np.quantile(window.weight, WEIGHT_QUANTILE)
        rows = rows[rng.random(window.rows) < share]
    if len(rows) > limit:
        rows = np.sort(rng.choice(rows, limit, replace=False))
    return window if len(rows) == window.rows else window.take(rows)
