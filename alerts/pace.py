"""How fast a channel may be called: a steady pace with some burst."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

_RATE = re.compile(r"\s*(\d{1,6})\s*/\s*(s|min|h)\s*")
_PERIODS = {"s": timedelta(seconds=1), "min": timedelta(minutes=1), "h": timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class Pace:
    """One message every `every`, of which `burst` may come at once after a pause."""

    every: timedelta
    burst: int = 1

    @classmethod
    def parse(cls, text: str) -> Pace:
        """'1/s' is one at a time; '30/min' lets its 30 come at once. ValueError if neither."""
        match = _RATE.fullmatch(text)
        if match is None or int(match[1]) == 0:
            msg = f"'{text[:80]}' is no rate; write it as in '1/s', '30/min' or '100/h'"
            raise ValueError(msg)
        count, period = int(match[1]), _PERIODS[match[2]]
        return cls(period / count, count)

    def take(self, free_at: datetime | None, now: datetime) -> tuple[datetime, datetime]:
        """One turn taken at `now`: the new `free_at`, and when the next turn may be taken.

        The generic cell rate algorithm: `free_at` is when all that was taken is paid for.
        """
        paid = max(free_at or now, now) + self.every
        return paid, paid - (self.burst - 1) * self.every


DEFAULTS: Mapping[str, Pace] = {
    "slack": Pace(timedelta(seconds=1)),
    # 120 events a minute for each integration; above that PagerDuty answers 429.
    "pagerduty": Pace(timedelta(seconds=0.5), 60),
    "email": Pace(timedelta(seconds=1), 20),
}
"""What the services ask for, or what a mailbox can stand; other kinds are not slowed."""
