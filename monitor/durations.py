"""Durations, budgets and tick lengths as people write them: 30d, 6 h, "1 page / 30 d"."""

from __future__ import annotations

import re

from detectors.records import DAY_US, HOUR_US, Budget
from monitor.errors import UsageError

_UNITS_US = {
    "s": 1_000_000,
    "min": 60_000_000,
    "h": HOUR_US,
    "d": DAY_US,
    "w": 7 * DAY_US,
}
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(s|min|h|d|w)\s*$")
_BUDGET = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(?:pages?|alarms?)\s*(?:/|per)\s*(.+)$")
_TICKETS = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*tickets?\s*(?:/|per)\s*(.+)$")
_ROWS = re.compile(r"^\s*(\d{1,9})\s*rows?\s*$")
_FACTOR = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*$")
MOST_PAGES = 1e6
MOST_FACTOR = 1e3
LONGEST_US = 36_525 * DAY_US
"""A hundred years. A date that far from now can still be written down."""


def parse_duration(text: str, *, what: str, allow_zero: bool = False) -> int:
    """'90min', '6h', '1 d', '2w' as microseconds.

    Raises:
        UsageError: if the text is no duration, is zero and may not be, or is over 100 years.
    """
    match = _DURATION.match(text)
    if match is None or (float(match[1]) == 0 and not allow_zero):
        msg = f"{what}: '{text}' is no duration; write a number and s, min, h, d or w, as in 6h"
        raise UsageError(msg)
    length_us = float(match[1]) * _UNITS_US[match[2]]
    if length_us > LONGEST_US:
        msg = f"{what}: '{text.strip()[:40]}' is longer than 100 years; write at most 36525d"
        raise UsageError(msg)
    return round(length_us)


def parse_budget(text: str) -> Budget:
    """'1 page / 30 d' as a Budget.

    Raises:
        UsageError: if it does not read "N page(s) / duration" with N above zero and no more than
            a million.
    """
    match = _BUDGET.match(text)
    if match is None or not 0 < float(match[1]) <= MOST_PAGES:
        msg = f"budget: '{text}' does not read as a rate; write it as in '1 page / 30 d'"
        raise UsageError(msg)
    period_us = parse_duration(match[2], what="budget period")
    return Budget(pages=float(match[1]), period_hours=period_us / HOUR_US)


def parse_slow_change(text: str) -> Budget | None:
    """'3 tickets / 30 d' as the budget of slow-change tickets; 'off' as None.

    Raises:
        UsageError: if it is neither, or N is not above zero or more than a million.
    """
    if text.strip() == "off":
        return None
    match = _TICKETS.match(text)
    if match is None or not 0 < float(match[1]) <= MOST_PAGES:
        msg = f"slow change: '{text}' is no rate; write it as in '3 tickets / 30 d', or off"
        raise UsageError(msg)
    period_us = parse_duration(match[2], what="slow-change period")
    return Budget(float(match[1]), period_hours=period_us / HOUR_US, ticket_factor=1.0)


def parse_volume_change(text: str) -> float:
    """'2' as the factor by which a day's rows must fall or rise; 'off' as 0.

    Raises:
        UsageError: if it is neither, or no number above 1 and up to a thousand.
    """
    if text.strip() == "off":
        return 0.0
    match = _FACTOR.match(text)
    if match is None or not 1 < float(match[1]) <= MOST_FACTOR:
        msg = f"volume change: '{text}' is no factor; write a number above 1, as in 2, or off"
        raise UsageError(msg)
    return float(match[1])


def parse_tick(text: str) -> tuple[int | None, int | None]:
    """'auto', '1h', '6h', '1d' or '50rows' as (tick_us, tick_rows); auto is (None, None).

    Raises:
        UsageError: if it is none of these, under one minute, or does not divide a day.
    """
    if text.strip() == "auto":
        return None, None
    rows = _ROWS.match(text)
    if rows is not None and int(rows[1]) > 0:
        return None, int(rows[1])
    tick_us = parse_duration(text, what="tick")
    if tick_us < 60_000_000 or DAY_US % tick_us:
        msg = f"tick: '{text}' does not divide a day; use auto, 1h, 6h, 1d or 50rows"
        raise UsageError(msg)
    return tick_us, None


def duration_words(duration_us: int) -> str:
    """The shortest exact way to write a duration: 1 d, 6 h, 90 min."""
    for unit in ("d", "h", "min"):
        if duration_us % _UNITS_US[unit] == 0 and duration_us >= _UNITS_US[unit]:
            return f"{duration_us // _UNITS_US[unit]} {unit}"
    return f"{duration_us / 1_000_000:g} s"


def budget_words(budget: Budget) -> str:
    """'1 page / 30 d'."""
    noun = "page" if budget.pages == 1 else "pages"
    return f"{budget.pages:g} {noun} / {duration_words(round(budget.period_hours * HOUR_US))}"
