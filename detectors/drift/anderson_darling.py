"""Anderson-Darling: a distance of distributions that weighs the tails up. By scipy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray


@dataclass(frozen=True, slots=True)
class AndersonDarling:
    """The normalised statistic (mid-ranks) and its p-value, which permutation makes exact."""

    statistic: float
    p_value: float


def anderson_darling(
    a: FloatArray, b: FloatArray, *, permutations: int = 999, seed: int = 0
) -> AndersonDarling:
    """Compare samples a (n,) and b (m,) without NaN, each with at least one value.

    Scipy caps the p-value from tables to [.001, .25]; permutation does not. Scholz and Stephens
    (1987). Both samples all one value: statistic 0, p-value 1.
    """
    if np.ptp(np.concatenate([a, b])) == 0:
        return AndersonDarling(0.0, 1.0)
    from scipy.stats import PermutationMethod, anderson_ksamp

    found = anderson_ksamp(
        [a, b],
        variant="midrank",
        method=PermutationMethod(n_resamples=permutations, rng=np.random.default_rng(seed)),
    )
    return AndersonDarling(float(found.statistic), float(found.pvalue))
