"""Seeded sums of cohort days with a known difference of losses."""

from __future__ import annotations

import numpy as np

from detectors.records import DAY_US, FloatArray
from detectors.transfer.sums import TransferSums


def noise(rng: np.random.Generator, days: int, phi: float = 0.0) -> FloatArray:
    """Unit-variance AR(1) path (days,)."""
    shocks = rng.normal(size=days)
    path = np.empty(days)
    level = float(shocks[0])
    path[0] = level
    for day in range(1, days):
        level = phi * level + np.sqrt(1.0 - phi**2) * float(shocks[day])
        path[day] = level
    return path


def cohort_days(
    rng: np.random.Generator,
    days: int,
    difference: float,
    *,
    rows: float = 50.0,
    sd: float = 0.5,
    baseline: float = 0.5,
    rate: float = 0.2,
    phi: float = 0.0,
    tick_us: int = DAY_US,
) -> TransferSums:
    """Tick sums whose mean difference is `difference` and whose row sd is `sd`."""
    n = np.maximum(rng.poisson(rows, days), 1).astype(np.float64)
    means = difference + sd / np.sqrt(n) * noise(rng, days, phi)
    return TransferSums(
        start_us=np.arange(days, dtype=np.int64) * tick_us,
        rows=n,
        difference=means * n,
        difference2=(means**2 + sd**2) * n,
        baseline_loss=baseline * n,
        minority=rng.binomial(n.astype(np.int64), rate).astype(np.float64),
    )
