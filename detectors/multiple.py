"""Many questions at once: which of K results stand when K are asked in one report.

`benjamini_hochberg` is for p-values looked at once; `e_benjamini_hochberg` for e-values that
people watch as they grow. Both bound the expected share of false ones among those kept.
"""

from __future__ import annotations

import numpy as np

from detectors.records import BoolArray, FloatArray


def benjamini_hochberg(p_values: FloatArray, rate: float = 0.05) -> BoolArray:
    """Which of the (K,) p-values are rejected at false discovery rate `rate`.

    NaN is a question without an answer: never rejected and not counted in K. Valid under
    independence and positive dependence. After Benjamini and Hochberg (1995).
    """
    p = np.asarray(p_values, dtype=np.float64)
    asked = np.flatnonzero(~np.isnan(p))
    rejected = np.zeros(p.shape, dtype=np.bool_)
    order = asked[np.argsort(p[asked], kind="stable")]
    limits = rate * np.arange(1, len(order) + 1) / max(len(order), 1)
    below = np.flatnonzero(p[order] <= limits)
    if below.size:
        rejected[order[: below[-1] + 1]] = True
    return rejected


def e_benjamini_hochberg(log_e_values: FloatArray, rate: float = 0.05) -> BoolArray:
    """Which of the (K,) e-values, given as natural logarithms, are rejected at `rate`.

    Holds under any dependence and at any stopping time. NaN is not counted in K. The k
    largest stand when k * e_(k) / K >= 1 / rate. After Wang and Ramdas (2022).
    """
    log_e = np.asarray(log_e_values, dtype=np.float64)
    asked = np.flatnonzero(~np.isnan(log_e))
    rejected = np.zeros(log_e.shape, dtype=np.bool_)
    order = asked[np.argsort(-log_e[asked], kind="stable")]
    ranks = np.arange(1, len(order) + 1)
    enough = log_e[order] + np.log(ranks / max(len(order), 1)) >= -np.log(rate)
    kept = np.flatnonzero(enough)
    if kept.size:
        rejected[order[: kept[-1] + 1]] = True
    return rejected
