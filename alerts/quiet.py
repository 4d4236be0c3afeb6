"""Hours in which a message waits: read by delivery alone, never by evidence or incidents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_LONGEST_CHAIN = 16
"""A night before a weekend before a night: more than a fortnight of quiet in a row is a mistake."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` to `end` of the wall clock of `zone`, through midnight where `end` is earlier.

    `days` are quiet from midnight to midnight (Monday is 0). `pages`: whether pages wait too;
    tickets always do.
    """

    start: time
    end: time
    zone: str
    days: tuple[int, ...] = ()
    pages: bool = False

    def ends(self, now: datetime) -> datetime | None:
        """When the quiet in which `now` lies is over, in UTC; None if it is not quiet now.

        Where clocks are put forward over a limit, the limit is the instant of the jump; where
        they are put back, quiet begins at the first and ends at the second time it is so late.
        """
        at = now.astimezone(UTC)
        for _ in range(_LONGEST_CHAIN):
            end = self._end_of_the_span_around(at)
            if end is None:
                break
            at = end
        return at if at > now else None

    def _end_of_the_span_around(self, at: datetime) -> datetime | None:
        zone = ZoneInfo(self.zone)
        today = at.astimezone(zone).date()
        ends = []
        for day in (today - timedelta(days=1), today):
            past_midnight = timedelta(days=int(self.end <= self.start))
            spans = [(_first(day, self.start, zone), _last(day + past_midnight, self.end, zone))]
            if day.weekday() in self.days:
                midnight = time(0)
                tomorrow = day + timedelta(days=1)
                spans.append((_first(day, midnight, zone), _last(tomorrow, midnight, zone)))
            ends += [until for since, until in spans if since <= at < until]
        return max(ends, default=None)


def _first(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return min(_both(day, clock, zone))


def _last(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return max(_both(day, clock, zone))


def _both(day: date, clock: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The two readings of a local time; they differ only where clocks are changed."""
    local = datetime.combine(day, clock, tzinfo=zone)
    return local.replace(fold=0).astimezone(UTC), local.replace(fold=1).astimezone(UTC)
