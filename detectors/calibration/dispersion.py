"""Do labels scatter around their probabilities as independent rows would, from day to day?

If they do, rows may be multiplied as e-values; if days have a common noise, every row's evidence is
worth less. The index of dispersion of the daily surplus says how much less: an e-value for a sum of
variance V is one for a sum of variance fV once its logarithm is divided by f.
"""

from __future__ import annotations

import numpy as np

from detectors.records import DAY_US, FloatArray, IntArray

FEWEST_DAYS = 28
WEEK = 7


def day_dispersion(ts_us: IntArray, residual: FloatArray, information: FloatArray) -> float | None:
    """f, at least 1; None with fewer than 28 days.

    residual (n,) is y - r and information r (1 - r). The larger of the mean squared z of a day,
    with its standard error for safety, and that of whole weeks, in which days that lean the same
    way add up.
    """
    if not len(ts_us):
        return None
    days = ts_us // DAY_US
    first = int(days.min())
    place = (days - first).astype(np.int64)
    surplus = np.bincount(place, weights=residual)
    implied = np.bincount(place, weights=information)
    counted = implied > 0.0
    if int(counted.sum()) < FEWEST_DAYS:
        return None
    daily = float((surplus[counted] ** 2 / implied[counted]).mean())
    daily += float(np.sqrt(2.0 / counted.sum()))
    whole = len(surplus) // WEEK * WEEK
    weeks = surplus[:whole].reshape(-1, WEEK).sum(axis=1)
    of_weeks = implied[:whole].reshape(-1, WEEK).sum(axis=1)
    weekly = float((weeks[of_weeks > 0] ** 2 / of_weeks[of_weeks > 0]).mean())
    return max(1.0, daily, weekly)
