"""The first days of serving as the reference in time, where the reference is a table without times.

A training table says which values are usual and nothing of hours, days or memory, so evidence
begins as that of a young domain and nobody is paged against the table. The first 14 whole days of
serving then become what evidence is held against: features start anew on them, at the tick that
the back-test chooses, with slow change and the runs that are usual; labels, which have seen the
same days at their own tick, go on and get their level from them. Cells, the verdict and what a
report compares with stay the table's. Event time alone decides, so a replay does the same.

A fault of the data that is certain and began after the first day is no part of what is usual: the
fortnight begins anew when it is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from detectors.evidence.young import PROMISED_US
from detectors.records import DAY_US, Tier, Window, concat_windows, to_datetime
from detectors.schema.check import TIERS
from detectors.summary import TickSummary
from monitor.rows.base import RowSource
from monitor.watching.progress import TickClock
from monitor.watching.reference_ticks import ClockName, reference_summaries
from monitor.watching.watch import Watch

FEWEST_ROWS = 200
"""Fewer rows in the fortnight make it longer."""
CERTAIN = tuple(check for check, tier in TIERS.items() if tier is Tier.PAGE)


@dataclass(slots=True)
class FirstDays:
    """`since_us` is where the fortnight begins, None before the first row.

    `until_us` is where it ended, by clock, once it is the reference.
    """

    since_us: int | None = None
    until_us: dict[str, int] = field(default_factory=dict)

    @property
    def span_us(self) -> tuple[int, int] | None:
        """The days that features are held against; None while they are gathered."""
        until_us = self.until_us.get("feature")
        return None if until_us is None or self.since_us is None else (self.since_us, until_us)

    def begin(self, first_live_us: int) -> None:
        """Start with the first whole day; later calls change nothing."""
        if self.since_us is None:
            self.since_us = _next_day(first_live_us)

    def is_due(self, name: ClockName, clock: TickClock) -> bool:
        """Whether a clock stands at the end of a fortnight, between two of its ticks."""
        if self.since_us is None or clock.next_us is None or name in self.until_us:
            return False
        if name == "label" and self.span_us is None:
            return False
        at_us = clock.next_us
        between = at_us % DAY_US == 0 and at_us % clock.tick_us == 0
        return between and at_us - self.since_us >= PROMISED_US

    def note_faults(self, memory: Mapping[str, Any], first_live_us: int, end_us: int) -> None:
        """Begin anew after a tick that ended at `end_us` with a fault that came with serving."""
        if self.span_us is None and _came_later(memory, _next_day(first_live_us + 1)):
            self.since_us = _next_day(end_us)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def words(self) -> str:
        """Which days evidence is held against, or will be."""
        if self.span_us is None:
            since = "the first day of rows" if self.since_us is None else _day(self.since_us)
            return (
                "the reference has no times: 14 days of serving become the reference in time, "
                f"from {since} on"
            )
        since_us, until_us = self.span_us
        days = (until_us - since_us) // DAY_US
        return (
            "the reference has no times: evidence is held against the domain's own first "
            f"{days} days, {_day(since_us)} to {_day(until_us - 1)}"
        )


def open_first_days(watch: Watch) -> FirstDays | None:
    """None where the reference has times, or ticks are row counts."""
    return FirstDays() if watch.is_table else None


def gathered(watch: Watch, rows: RowSource, since_us: int, until_us: int) -> list[TickSummary]:
    """Base ticks of features of a span of live rows, read day by day."""
    step_us = max(DAY_US, watch.base_tick_us)
    base: list[TickSummary] = []
    for start_us in range(since_us, until_us, step_us):
        end_us = min(start_us + step_us, until_us)
        day = concat_windows(rows.rows(start_us, end_us, labels_by_us=None))
        base += reference_summaries(watch.profile, "feature", day, watch.base_tick_us)
    return base


def first_rows(first: FirstDays | None, rows: RowSource, now_us: int) -> Window | None:
    """The rows of the days that evidence is held against; None where it is held to others."""
    if first is None or first.span_us is None:
        return None
    own = concat_windows(rows.rows(*first.span_us, labels_by_us=now_us))
    return own if own.rows else None


def _came_later(memory: Mapping[str, Any], first_day_end_us: int) -> bool:
    """Whether a check without false alarms fires on a run that began after the first day."""
    return any(
        runs["fired"].get(check, 0) is None and since_us >= first_day_end_us
        for runs in memory.values()
        for check, since_us in runs["since_us"].items()
        if check in CERTAIN
    )


def _next_day(instant_us: int) -> int:
    return -(-instant_us // DAY_US) * DAY_US


def _day(instant_us: int) -> str:
    return f"{to_datetime(instant_us):%-d %b}"
