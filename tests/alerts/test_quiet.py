"""Quiet hours on the wall clock of a place, through the nights in which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerts.quiet import QuietHours

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(22), time(7), "Europe/Berlin")
LUNCH = QuietHours(time(12), time(13), "UTC")


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


@pytest.mark.parametrize(
    ("quiet", "now", "ends"),
    [
        (NIGHT, "2026-01-10 21:59", None),
        (NIGHT, "2026-01-10 22:00", "2026-01-11 07:00"),
        (NIGHT, "2026-01-11 06:59", "2026-01-11 07:00"),
        (NIGHT, "2026-01-11 07:00", None),
        # Clocks jump from 02:00 to 03:00 on 29 March, and fall from 03:00 to 02:00 on 25 October.
        (NIGHT, "2026-03-28 23:00", "2026-03-29 07:00"),
        (NIGHT, "2026-10-24 23:00", "2026-10-25 07:00"),
        (
            QuietHours(time(22), time(2, 30), "Europe/Berlin"),
            "2026-03-28 23:00",
            "2026-03-29 03:30",
        ),
        (LUNCH, "2026-01-10 13:30", "2026-01-10 14:00"),
        (LUNCH, "2026-01-10 14:00", None),
    ],
)
def test_the_table(quiet: QuietHours, now: str, ends: str | None) -> None:
    expected = None if ends is None else berlin(ends).astimezone(UTC)
    assert quiet.ends(berlin(now)) == expected


def test_an_hour_that_comes_twice_is_quiet_until_its_second_end() -> None:
    quiet = QuietHours(time(22), time(2, 30), "Europe/Berlin")
    end = quiet.ends(berlin("2026-10-25 00:30"))
    assert end == berlin("2026-10-25 02:30", fold=1).astimezone(UTC)
    assert end != berlin("2026-10-25 02:30", fold=0).astimezone(UTC)


def test_a_weekend_goes_on_where_the_night_before_it_ends() -> None:
    quiet = QuietHours(time(22), time(7), "Europe/Berlin", days=(5, 6))
    friday_night = berlin("2026-01-09 23:00")
    assert friday_night.weekday() == 4
    assert quiet.ends(friday_night) == berlin("2026-01-12 07:00").astimezone(UTC)


@pytest.mark.parametrize("quiet", [NIGHT, LUNCH, QuietHours(time(1), time(3, 15), "Europe/Berlin")])
def test_every_minute_of_a_year_agrees_with_reading_the_clock_on_the_wall(
    quiet: QuietHours,
) -> None:
    """Away from the two nights with a change, quiet is what the wall clock shows, in any zone."""
    zone = ZoneInfo(quiet.zone)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    while at.year == 2026:
        at += timedelta(minutes=37)
        local = at.astimezone(zone)
        if (local.month, local.day) in {(3, 28), (3, 29), (10, 24), (10, 25)}:
            continue
        clock = local.time().replace(tzinfo=None)
        if quiet.start < quiet.end:
            expected = quiet.start <= clock < quiet.end
        else:
            expected = clock >= quiet.start or clock < quiet.end
        assert (quiet.ends(at) is not None) == expected, local
