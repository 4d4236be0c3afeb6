"""Public holidays: days on which a season says less, and the day after."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from detectors.records import DAY_US, BoolArray, IntArray

HOLIDAY_VARIANCE = 4.0


def around_holidays(starts_us: IntArray, country: str) -> BoolArray:
    """Which ticks (T,) start on a public holiday or the day after, by UTC date.

    `country` is an ISO code, "US", or with a subdivision, "US-NY".
    Raises ValueError for a code without a calendar.
    """
    days = starts_us // DAY_US
    years = days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    affected: set[int] = set()
    for year in {int(y) for y in years} | {int(y) - 1 for y in years}:
        affected.update(_holidays(country, year))
    both = affected | {day + 1 for day in affected}
    return np.isin(days, np.fromiter(both, np.int64, len(both)))


@lru_cache(maxsize=256)
def _holidays(country: str, year: int) -> frozenset[int]:
    """Days since 1970 that are public holidays in one year."""
    import holidays

    code, _, subdivision = country.partition("-")
    try:
        calendar = holidays.country_holidays(code, subdiv=subdivision or None, years=year)
    except NotImplementedError as fault:
        msg = f"no holiday calendar for {country!r}; give an ISO code such as 'US', 'DE' or 'US-NY'"
        raise ValueError(msg) from fault
    epoch = np.datetime64("1970-01-01", "D")
    return frozenset(int((np.datetime64(day, "D") - epoch).astype(np.int64)) for day in calendar)
