"""How much more the mean of ticks wanders because each tick resembles the one before it.

Tick means that follow their predecessor make the spread of single ticks too small a yardstick for
their mean. For short memory the yardstick is mended by one factor, (1 + ρ) / (1 - ρ), with ρ the
lag-1 autocorrelation: exact for a first-order process, and near it where white noise is added.
"""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray

MOST_AUTOCORRELATION = 0.9
"""Beyond it a mean tells next to nothing, and its estimate runs away; the factor ends at 19."""


def autocorrelations(x: FloatArray) -> FloatArray:
    """Lag-1 autocorrelation of every prefix of x (T,), each about its own mean; 0 if constant."""
    if not len(x):
        return np.empty(0)
    x = x - x[0]  # about a value that more ticks do not move
    n = np.arange(1.0, len(x) + 1.0)
    total = np.cumsum(x)
    mean = total / n
    products = np.concatenate(([0.0], np.cumsum(x[1:] * x[:-1])))
    covered = 2.0 * total - x[0] - x  # all but the last, plus all but the first
    covariance = products - mean * covered + (n - 1.0) * mean**2
    variance = np.cumsum(x * x) - n * mean**2
    ok = variance > 1e-12 * np.maximum(np.cumsum(x * x), 1e-300)
    return np.asarray(np.divide(covariance, variance, out=np.zeros_like(x), where=ok))


def long_run_factors(x: FloatArray) -> FloatArray:
    """Long-run over plain variance of every prefix of x (T,), at least 1.

    An estimate from n ticks is too low by (1 + 4ρ) / n (Kendall 1954; Marriott and Pope 1954),
    which is given back first. So it errs upwards while ticks are few: a price that independent
    ticks pay in width. It never makes an interval narrower.
    """
    ticks = np.arange(1.0, len(x) + 1.0)
    found = autocorrelations(x)
    mended = found + (1.0 + 4.0 * np.maximum(found, 0.0)) / ticks
    rho = np.clip(mended, 0.0, MOST_AUTOCORRELATION)
    return np.asarray((1.0 + rho) / (1.0 - rho))
