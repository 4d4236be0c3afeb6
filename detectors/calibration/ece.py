"""Expected calibration error, squared and debiased: 0 on average for a calibrated model."""

from __future__ import annotations

import numpy as np

from detectors.calibration.bins import equal_mass_bins
from detectors.records import FloatArray


def debiased_ece2(rows: FloatArray, observed: FloatArray, predicted: FloatArray) -> float | None:
    """Σ n_b/n [(ȳ_b - p̄_b)² - ȳ_b(1 - ȳ_b) / (n_b - 1)] over bins (b,), negative included.

    Bins of one row carry no estimate of their noise and are left out; None if all are. After
    Bröcker (2012) and Kumar, Liang and Ma (2019).
    """
    kept = rows > 1.0
    if not kept.any():
        return None
    n, observed, predicted = rows[kept], observed[kept], predicted[kept]
    noise = observed * (1.0 - observed) / (n - 1.0)
    return float(n @ ((observed - predicted) ** 2 - noise) / n.sum())


def ece_debiased(
    p: FloatArray, y: FloatArray, weight: FloatArray | None = None, *, bins: int = 15
) -> float | None:
    """Signed root of the debiased squared error over `bins` bins of equal mass.

    A probability: .03 reads "three points off", below 0 "less error than noise alone makes".
    """
    binned = equal_mass_bins(p, y, weight, bins=bins)
    squared = debiased_ece2(binned.effective, binned.label, binned.score)
    if squared is None:
        return None
    return float(np.sign(squared) * np.sqrt(abs(squared)))
