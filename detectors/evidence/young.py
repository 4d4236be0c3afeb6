"""How far a domain has come: what may be bet before its budget can be promised.

No pages in the first 14 days, or 7 where a fleet lends its experience; tickets from 48 hours. From
there evidence is injected in proportion to age until it is whole at 14 days. The reference is
fitted anew at 2, 3, 7, 14, 28 and 56 days. Before day 7 the scale is taken as known, and a lent
memory does not make up for that: pages from 48 hours on broke the budget where the memory is long
(benchmarks/detection/young.py).
"""

from __future__ import annotations

import numpy as np

from detectors.records import DAY_US, HOUR_US, FloatArray, IntArray, Maturity

FIRST_BET_US = 48 * HOUR_US
PROMISED_US = 14 * DAY_US
KNOWN_SCALE_US = 7 * DAY_US
FIRST_LENT_PAGE_US = KNOWN_SCALE_US
REFITS_US = tuple(days * DAY_US for days in (2, 3, 7, 14, 28, 56))
# Row ticks have no age in time: a hundred of them count as 14 days, fifteen as 48 hours.
ROW_TICK_AGE_US = PROMISED_US // 100


def maturity_at(age_us: int) -> Maturity:
    if age_us < FIRST_BET_US:
        return Maturity.WARMING
    return Maturity.PROVISIONAL if age_us < PROMISED_US else Maturity.GUARANTEED


def refits_done(age_us: int) -> int:
    """How many of the scheduled fits lie at or before this age."""
    return sum(age_us >= due for due in REFITS_US)


def shares_at(ages_us: IntArray, *, fleet: bool) -> FloatArray:
    """Share (T, 2) of its weight that a page and a ticket stream may inject at each age."""
    ramp = np.clip(ages_us / PROMISED_US, 0.0, 1.0)
    ticket = np.where(ages_us >= FIRST_BET_US, ramp, 0.0)
    page = np.where(ages_us >= (FIRST_LENT_PAGE_US if fleet else PROMISED_US), ramp, 0.0)
    return np.ascontiguousarray(np.stack([page, ticket], axis=1))
