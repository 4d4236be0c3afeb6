from __future__ import annotations

import numpy as np
import pytest

from detectors.evidence.calendars import around_holidays
from detectors.records import DAY_US, HOUR_US


def test_the_day_and_the_day_after_are_marked_by_the_hour() -> None:
    christmas_2013 = 16_064 * DAY_US
    hours = christmas_2013 + np.arange(-24, 72) * HOUR_US
    marked = around_holidays(hours, "US")
    assert marked.tolist() == [False] * 24 + [True] * 48 + [False] * 24


def test_a_holiday_at_the_end_of_a_year_reaches_into_the_next() -> None:
    new_year_eve_2026 = 20_818 * DAY_US  # 2026-12-31; Japan's bank holidays end before it
    days = new_year_eve_2026 + np.arange(3) * DAY_US
    assert around_holidays(days, "DE").tolist() == [False, True, True]


def test_subdivisions_have_their_own_days() -> None:
    epiphany_2026 = np.array([20_459 * DAY_US])
    assert around_holidays(epiphany_2026, "DE-BY").tolist() == [True]
    assert around_holidays(epiphany_2026, "DE-BE").tolist() == [False]


@pytest.mark.parametrize("code", ["ZZ", "", "US-QQ"])
def test_an_unknown_country_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="no holiday calendar"):
        around_holidays(np.zeros(1, np.int64), code)
