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


def ece_interval(
    p: FloatArray,
    y: FloatArray,
    weight: FloatArray | None = None,
    *,
    bins: int = 15,
    design_effect: float = 1.0,
) -> tuple[float, float] | None:
    """95 % interval of the squared error over bins, as roots, the lower one at least 0.

    A bin's (gap)² less its noise v has variance 4 gap² v + 2 v² where bins are nearly normal. What
    a miscalibration inside a bin adds is not seen. In the way of Sun, Chaudhari, Barnett and
    Dobriban (2024).
    """
    binned = equal_mass_bins(p, y, weight, bins=bins)
    rows = binned.effective / design_effect
    kept = rows > 1.0
    if not kept.any():
        return None
    n, observed, predicted = rows[kept], binned.label[kept], binned.score[kept]
    # half an event of each kind: a bin that saw only one is not known exactly
    rate = (n * observed + 0.5) / (n + 1.0)
    noise = rate * (1.0 - rate) / (n - 1.0)
    squares = (observed - predicted) ** 2
    share = n / n.sum()
    estimate = float(share @ (squares - noise))
    # the gaps seen stand in for those there are: too large by the noise, so never too sure
    variance = share**2 @ (4.0 * squares * noise + 2.0 * noise**2)
    half = 1.959964 * float(np.sqrt(variance))
    low, high = max(estimate - half, 0.0), max(estimate + half, 0.0)
    return float(np.sqrt(low)), float(np.sqrt(high))
