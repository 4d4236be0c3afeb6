"""When an incident speaks, resolves and asks for retraining. Spans are event time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """The defaults are for ticks of an hour to a day.

    `overlap` is how far apart two runs of alarms may lie and still be one change; onsets are
    estimates. `worse_factor` is in evidence, which grows exponentially under a change, so tenfold
    is a few ticks of a large one. A page is said again after `reminder`, a ticket after
    `ticket_reminder`. `min_confidence` guards automatic retraining only. `public_url`
    is where links point; empty makes them relative.
    """

    overlap: timedelta = timedelta(days=1)
    reminder: timedelta = timedelta(days=1)
    ticket_reminder: timedelta = timedelta(days=7)
    worse_factor: float = 10.0
    worse_wait: timedelta = timedelta(hours=6)
    recovery: timedelta = timedelta(days=3)
    reopen_within: timedelta = timedelta(days=1)
    cooldown: timedelta = timedelta(days=7)
    min_confidence: float = 0.6
    public_url: str = ""
