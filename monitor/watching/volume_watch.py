"""Whether as many rows come as used to: a ticket where a day's rows fall or rise by a factor.

It is followed by the day of event time, whatever the tick. Rows count as many as they stand for
where they were sampled. Its share of the ticket budget comes on top of what the evidence may use,
like that of label delays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.evidence.bank import Alarm, Bank, advance, prime, start_bank
from detectors.records import (
    DAY_US,
    Finding,
    FloatArray,
    Settings,
    StreamSpec,
    Tier,
    Window,
    to_datetime,
)
from detectors.summary import TickSummary
from detectors.sums import Sum
from detectors.volume import (
    GATE_SHARE,
    SCATTER,
    Days,
    VolumeRuler,
    fit_volume_ruler,
    volume_spec,
    volume_statistics,
    volume_words,
    whole_days,
)
from monitor.watching.day_watch import YEAR_US
from monitor.watching.progress import TickClock, reference_level
from monitor.watching.watch import Watch

SHARE = 0.1
"""Of the ticket budget: one false ticket in ten times its period at most."""
KEPT_DAYS = 28
SETTLED_DAYS = 14


@dataclass(slots=True, eq=False)
class VolumeWatch:
    """Where the stream stands. `ticks`, `weight` and `weight2` are of the day in progress.

    `recent` are the last days judged, as (start us, rows); `first_us` the first of all. `told`:
    the last change was, and has not gone back.
    """

    clock: TickClock
    ruler: VolumeRuler
    ticks: int = 0
    weight: float = 0.0
    weight2: float = 0.0
    recent: list[tuple[int, float]] = field(default_factory=list)
    first_us: int | None = None
    told: bool = False

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return self.clock.bank.specs

    def extras(self) -> dict[str, Any]:
        """What is saved of it besides the clock, as MessagePack can hold it."""
        return {
            "usual": list(self.ruler.usual),
            "ticks": self.ticks,
            "weight": self.weight,
            "weight2": self.weight2,
            "recent": self.recent,
            "first_us": self.first_us,
            "told": self.told,
        }

    @classmethod
    def restored(cls, clock: TickClock, extras: dict[str, Any]) -> VolumeWatch:
        """Read back what `extras` gave, with the clock it belongs to."""
        rest = {name: value for name, value in extras.items() if name != "usual"}
        rest["recent"] = [(start, rows) for start, rows in rest["recent"]]
        return cls(clock, VolumeRuler(tuple(extras["usual"])), **rest)


def open_volume_watch(watch: Watch, reference: Window | None) -> VolumeWatch | None:
    """Start on the whole days of the domain's own reference.

    None with fewer than 14 of them, without times, where ticks are rows, or where it is off.
    """
    settings = watch.settings
    if reference is None or not watch.own_reference or settings.tick_rows is not None:
        return None
    days = whole_days(reference)
    ruler = fit_volume_ruler(days)
    if ruler is None or not settings.volume:
        return None
    bank, level = primed_on_days(days, ruler, settings)
    return VolumeWatch(TickClock(bank=bank, tick_us=DAY_US, level=level), ruler)


def primed_on_days(days: Days, ruler: VolumeRuler, settings: Settings) -> tuple[Bank, FloatArray]:
    """The stream's bank that has seen the days of a reference, and the level (1,) of these."""
    y, v = (part[:, None] for part in volume_statistics(days, ruler))
    bank = start_bank(
        (volume_spec(settings.volume, share=SHARE),),
        tick_us=DAY_US,
        budget=settings.budget,
        holidays=settings.holidays,
        gate_share=GATE_SHARE,
        # A business that grows by a tenth a month is usual: the level may go 1 % a day.
        walk_sd=np.array([SCATTER]),
        yearly=int(np.ptp(days.starts_us)) + DAY_US >= YEAR_US,
    )
    return prime(bank, days.starts_us, y, v), reference_level(y, v)


def step_volume_watch(
    watch: Watch, volume: VolumeWatch | None, summary: TickSummary, instant_us: int
) -> list[Finding]:
    """Count a closed base tick; at the end of a day judge it, if all of it was watched."""
    if volume is None:
        return []
    start_us = summary.start_us // DAY_US * DAY_US
    if summary.start_us == start_us:
        _begin_day(volume)
    volume.ticks += 1
    volume.weight += summary.weight
    volume.weight2 += summary.sum(Sum.WEIGHT2)
    if summary.end_us % DAY_US:
        return []
    day = Days(np.array([start_us]), np.array([volume.weight]), np.array([volume.weight2]))
    whole = volume.ticks == DAY_US // watch.base_tick_us
    _begin_day(volume)
    clock = volume.clock
    if not whole or start_us == clock.bank.last_start_us:
        return []  # a day that began before it was watched, or that the reference has judged
    y, v = volume_statistics(day, volume.ruler)
    clock.bank, alarms = advance(clock.bank, start_us, y, v)
    clock.remember(start_us, y, v)
    if np.isfinite(v[0]):
        volume.first_us = start_us if volume.first_us is None else volume.first_us
        volume.recent = [*volume.recent, (start_us, float(day.weight[0]))][-KEPT_DAYS:]
    found = [_finding(volume, alarm, instant_us) for alarm in alarms]
    if volume.told and _is_usual(volume):
        volume.told = False
    return found


def _finding(volume: VolumeWatch, alarm: Alarm, instant_us: int) -> Finding:
    """A ticket; only a log line where rows are back, or were never as many as in the reference.

    A reference is often a sample of its rows: then what the first days bring is what is usual.
    """
    spec = volume.specs[0]
    seen = volume.clock.since_onset(0, alarm.onset_us)
    back = volume.told and seen is not None and abs(seen) <= spec.delta_min
    since = [day for day in volume.recent if day[0] >= alarm.onset_us]
    # Evidence that began on the first day may be of a fall after it: no day was usual, then.
    never = bool((_away(volume, volume.recent) > spec.delta_min).all())
    since_first = alarm.onset_us == volume.first_us and never and not back
    volume.told = not back and not since_first
    words = volume_words(float(np.mean([rows for _, rows in since])), alarm.effect)
    if back:
        words = f"{words}: as in the reference again"
    elif since_first:
        words = (
            f"{words}, since the first day watched, and taken as usual from here: "
            "is the reference a sample of its rows?"
        )
        volume.ruler = volume.ruler.scaled(math.exp(alarm.effect))
    return Finding(
        kind="drift",
        ts=to_datetime(instant_us),
        onset=to_datetime(alarm.onset_us),
        stream=spec.stream.id,
        tier=Tier.LOG if back or since_first else Tier.TICKET,
        evidence=alarm.evidence,
        effect=alarm.effect,
        detail=words,
    )


def _is_usual(volume: VolumeWatch) -> bool:
    """Whether the last 14 judged days all lie inside the margin: what was told is over.

    An alarm may take days to say so; the next change after that is one of its own.
    """
    last = volume.recent[-SETTLED_DAYS:]
    away = _away(volume, last)
    return len(last) == SETTLED_DAYS and bool((away <= volume.specs[0].delta_min).all())


def _away(volume: VolumeWatch, days: Sequence[tuple[int, float]]) -> FloatArray:
    """How far days (start us, rows) lie from what is usual, as |log of the ratio| (d,)."""
    usual = volume.ruler.of(np.array([start for start, _ in days], np.int64))
    return np.asarray(np.abs(np.log(np.array([rows for _, rows in days]) / usual)))


def _begin_day(volume: VolumeWatch) -> None:
    volume.ticks, volume.weight, volume.weight2 = 0, 0.0, 0.0
