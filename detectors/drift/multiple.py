"""Many columns, one report: which of them may be called changed."""

from __future__ import annotations

import numpy as np

from detectors.records import BoolArray, FloatArray


def benjamini_hochberg(p_values: FloatArray, level: float = 0.05) -> BoolArray:
    """(k,) True where the hypothesis is rejected at false discovery rate `level`.

    For one look at one table (Benjamini and Hochberg 1995); not for people who look again.
    """
    p = np.asarray(p_values, float)
    if not len(p):
        return np.zeros(0, bool)
    order = np.argsort(p)
    passed = np.flatnonzero(p[order] <= level * np.arange(1, len(p) + 1) / len(p))
    rejected = np.zeros(len(p), bool)
    if len(passed):
        rejected[order[: passed[-1] + 1]] = True
    return rejected


def e_benjamini_hochberg(e_values: FloatArray, level: float = 0.05) -> BoolArray:
    """The same for e-values, valid under any dependence (Wang and Ramdas 2022)."""
    e = np.asarray(e_values, float)
    with np.errstate(divide="ignore"):
        return benjamini_hochberg(1.0 / e, level)
