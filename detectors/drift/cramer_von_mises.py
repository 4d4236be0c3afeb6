"""Cramér-von Mises: the mean squared gap between two distribution functions. By scipy."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.records import FloatArray


@dataclass(frozen=True, slots=True)
class CramerVonMises:
    statistic: float
    p_value: float


def cramer_von_mises(a: FloatArray, b: FloatArray) -> CramerVonMises:
    """Compare samples a (n,) and b (m,) without NaN, n, m >= 2. Anderson (1962)."""
    from scipy.stats import cramervonmises_2samp

    found = cramervonmises_2samp(a, b)
    return CramerVonMises(float(found.statistic), float(found.pvalue))
