"""What moves while a deployment is watched: the checkpoint. Replaying summaries rebuilds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from detectors.evidence.bank import Bank
from detectors.records import DAY_US, FloatArray, StreamSpec
from detectors.summary import TickSummary

if TYPE_CHECKING:
    from monitor.baseline.baselines import Scorer
    from monitor.watching.day_watch import DayWatch
    from monitor.watching.first_days import FirstDays
    from monitor.watching.forecast_watch import ForecastWatch
    from monitor.watching.label_watch import LabelWatch
    from monitor.watching.newcomers import Newcomers
    from monitor.watching.volume_watch import VolumeWatch

RECENT_US = 3 * DAY_US
ILL_SPANS_KEPT = 20


@dataclass(slots=True, eq=False)
class TickClock:
    """One clock of a deployment: features by the tick watermark, labels by the cohort watermark.

    `next_us` is the start of the next base tick, None until the first live row. `partial`
    holds the base ticks of a longer tick that has not closed. `level` (K,) is each stream's
    mean over the reference and `recent_*` its last three days, for resolution.
    """

    bank: Bank
    tick_us: int
    next_us: int | None = None
    partial: TickSummary | None = None
    level: FloatArray = field(default_factory=lambda: np.empty(0))
    recent_start_us: list[int] = field(default_factory=list)
    recent_y: list[FloatArray] = field(default_factory=list)
    recent_v: list[FloatArray] = field(default_factory=list)

    def remember(self, start_us: int, y: FloatArray, v: FloatArray) -> None:
        """Keep one closed tick for three days."""
        self.recent_start_us.append(start_us)
        self.recent_y.append(y)
        self.recent_v.append(v)
        while self.recent_start_us and self.recent_start_us[0] <= start_us - RECENT_US:
            del self.recent_start_us[0], self.recent_y[0], self.recent_v[0]

    def since_onset(self, stream: int, onset_us: int) -> float | None:
        """A stream's mean since an instant, at most three days ago, less its reference level.

        None where that is less than a day of ticks, whose hours would be taken for a change.
        """
        if not len(self.level) or np.isnan(self.level[stream]):
            return None
        ticks = [i for i, start in enumerate(self.recent_start_us) if start >= onset_us]
        if not self.bank.row_ticks and len(ticks) * self.tick_us < DAY_US:
            return None
        y = np.array([self.recent_y[i][stream] for i in ticks])
        v = np.array([self.recent_v[i][stream] for i in ticks])
        seen = np.isfinite(v) & (v > 0)
        if not seen.any():
            return None
        return float(np.average(y[seen], weights=1.0 / v[seen]) - self.level[stream])

    def recent_effect(
        self, stream: int, *, since_us: int | None = None
    ) -> tuple[float, float] | None:
        """A stream's mean over the last three days less its reference level, and its error.

        None where there were no rows (since an instant), or there is no reference level yet.
        """
        if not self.recent_y or not len(self.level) or np.isnan(self.level[stream]):
            return None
        y = np.array([tick[stream] for tick in self.recent_y])
        v = np.array([tick[stream] for tick in self.recent_v])
        if since_us is not None:
            v = np.where(np.array(self.recent_start_us) >= since_us, v, np.inf)
        seen = np.isfinite(v) & (v > 0)
        if not seen.any():
            return None
        weight = 1.0 / v[seen]
        mean = float((weight * y[seen]).sum() / weight.sum())
        within = float((weight * (y[seen] - mean) ** 2).sum() / weight.sum())
        error = np.sqrt(max(within / seen.sum(), 1.0 / weight.sum()))
        return mean - float(self.level[stream]), float(error)


@dataclass(slots=True, eq=False)
class Progress:
    """Everything that moves for one deployment. `evaluated_until_us` is the last due instant.

    `left_out` counts rows the baseline was trained on. `suspects` holds slices that an uncorrected
    look found, since when (us; -1: refuted) their new test runs and the rank of each; `suspected`
    counts those there ever were. `doubt_told`: harm against an unfit baseline has its ticket.
    `days` follow streams by the day, one a clock. `ill` holds, by stream, the spans of event time
    (us; -1: still) in which the domain was ill by itself; others leave it out for as long.
    `newcomers` are slices, columns and categories that the reference lacks. `first_days` become the
    reference in time of a domain whose reference is a table.
    """

    feature: TickClock
    label: TickClock
    schema_memory: Mapping[str, Any] = field(default_factory=dict)
    named: dict[str, Any] = field(default_factory=dict)
    evaluated_until_us: int | None = None
    first_live_us: int | None = None
    follow_up_us: dict[str, int] = field(default_factory=dict)
    sighted_us: dict[str, int] = field(default_factory=dict)
    watched_us: dict[str, int] = field(default_factory=dict)
    diagnosed_us: int | None = None
    verdict_told: list[str] = field(default_factory=list)
    forgotten_told: list[str] = field(default_factory=list)
    broken_mappings: dict[str, int] = field(default_factory=dict)
    label_watch: LabelWatch | None = None
    forecast_watch: ForecastWatch | None = None
    pages: int = 0
    tickets: int = 0
    left_out: int = 0
    suspects: dict[str, list[int]] = field(default_factory=dict)
    doubt_told: bool = False
    skew_told: bool = False
    suspected: int = 0
    cohort_days: list[TickSummary] = field(default_factory=list)
    scorer: Scorer | None = None
    days: tuple[DayWatch, ...] = ()
    newcomers: Newcomers | None = None
    first_days: FirstDays | None = None
    volume_watch: VolumeWatch | None = None
    ill: dict[str, list[list[int]]] = field(default_factory=dict)

    def day_watch(self, name: str) -> DayWatch | None:
        """What is followed by the day on one clock."""
        return next((days for days in self.days if days.name == name), None)

    def note_ill(self, streams: Iterable[str], now_us: int) -> None:
        """Write down in which streams the domain is ill by itself from this instant on."""
        ill = set(streams)
        for stream, spans in self.ill.items():
            if spans[-1][1] < 0 and stream not in ill:
                spans[-1][1] = now_us
        for stream in ill:
            spans = self.ill.setdefault(stream, [])
            if not spans or spans[-1][1] >= 0:
                spans.append([now_us, -1])
                del spans[:-ILL_SPANS_KEPT]

    def was_ill(self, stream: str, instant_us: int) -> bool:
        """Whether it was known before an instant that the domain is ill by itself in a stream."""
        return any(
            since < instant_us and (until < 0 or instant_us <= until)
            for since, until in self.ill.get(stream, ())
        )

    def schema_is_ill(self, stream: str) -> bool:
        """Whether a deterministic check ("schema.missing:age") still finds what it found."""
        check, _, column = stream.removeprefix("schema.").partition(":")
        fired = self.schema_memory.get(column, {}).get("fired", {})
        return check in fired and fired[check] is None

    def to_bytes(self) -> bytes:
        """The checkpoint, without cohort days: those are kept as summaries of their own."""
        return msgspec.msgpack.encode(
            {
                "feature": pack_clock(self.feature),
                "label": pack_clock(self.label),
                "schema_memory": self.schema_memory,
                "named": self.named,
                "evaluated_until_us": self.evaluated_until_us,
                "first_live_us": self.first_live_us,
                "follow_up_us": self.follow_up_us,
                "sighted_us": self.sighted_us,
                "watched_us": self.watched_us,
                "diagnosed_us": self.diagnosed_us,
                "verdict_told": self.verdict_told,
                "forgotten_told": self.forgotten_told,
                "broken_mappings": self.broken_mappings,
                "label_watch": None
                if self.label_watch is None
                else [pack_clock(self.label_watch.clock), self.label_watch.extras()],
                "forecast_watch": None
                if self.forecast_watch is None
                else self.forecast_watch.to_dict(),
                "pages": self.pages,
                "tickets": self.tickets,
                "left_out": self.left_out,
                "suspects": self.suspects,
                "suspected": self.suspected,
                "doubt_told": self.doubt_told,
                "skew_told": self.skew_told,
                "days": [
                    days.extras() | {"clocks": [pack_clock(clock) for clock in days.clocks]}
                    for days in self.days
                ],
                "newcomers": None
                if self.newcomers is None
                else [
                    [pack_clock(clock) for clock in self.newcomers.clocks],
                    self.newcomers.extras(),
                ],
                "first_days": None if self.first_days is None else self.first_days.to_dict(),
                "volume_watch": None
                if self.volume_watch is None
                else [pack_clock(self.volume_watch.clock), self.volume_watch.extras()],
                "ill": self.ill,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Progress:
        """Read back what `to_bytes` wrote."""
        from monitor.watching.day_watch import DayWatch
        from monitor.watching.first_days import FirstDays
        from monitor.watching.forecast_watch import ForecastWatch
        from monitor.watching.label_watch import LabelWatch
        from monitor.watching.newcomers import Newcomers
        from monitor.watching.volume_watch import VolumeWatch

        stored = msgspec.msgpack.decode(data)
        if stored.get("forecast_watch") is not None:
            stored["forecast_watch"] = ForecastWatch.restored(stored["forecast_watch"])
        beside = stored.get("label_watch")
        if beside is not None:
            stored["label_watch"] = LabelWatch.restored(unpack_clock(beside[0]), beside[1])
        by_day = stored.get("volume_watch")
        if by_day is not None:
            stored["volume_watch"] = VolumeWatch.restored(unpack_clock(by_day[0]), by_day[1])
        if stored.get("newcomers") is not None:
            clocks, extras = stored["newcomers"]
            stored["newcomers"] = Newcomers.restored([unpack_clock(one) for one in clocks], extras)
        if stored.get("first_days") is not None:
            stored["first_days"] = FirstDays(**stored["first_days"])
        stored["days"] = tuple(
            DayWatch.restored([unpack_clock(clock) for clock in days["clocks"]], days)
            for days in stored.get("days", ())
        )
        return cls(
            **{
                **stored,
                "feature": unpack_clock(stored["feature"]),
                "label": unpack_clock(stored["label"]),
            }
        )


def pack_clock(clock: TickClock) -> dict[str, Any]:
    return {
        "bank": clock.bank.to_bytes(),
        "tick_us": clock.tick_us,
        "next_us": clock.next_us,
        "partial": None if clock.partial is None else clock.partial.to_bytes(),
        "level": clock.level.tobytes(),
        "recent_start_us": clock.recent_start_us,
        "recent_y": [y.tobytes() for y in clock.recent_y],
        "recent_v": [v.tobytes() for v in clock.recent_v],
    }


def unpack_clock(stored: dict[str, Any]) -> TickClock:
    return TickClock(
        bank=Bank.from_bytes(stored["bank"]),
        tick_us=stored["tick_us"],
        next_us=stored["next_us"],
        partial=None if stored["partial"] is None else TickSummary.from_bytes(stored["partial"]),
        level=np.frombuffer(stored["level"]).copy(),
        recent_start_us=list(stored["recent_start_us"]),
        recent_y=[np.frombuffer(y).copy() for y in stored["recent_y"]],
        recent_v=[np.frombuffer(v).copy() for v in stored["recent_v"]],
    )


def reference_level(y: FloatArray, v: FloatArray) -> FloatArray:
    """Each stream's precision-weighted mean over ticks; y, v (T, K) → (K,), NaN where unseen."""
    seen = np.isfinite(v) & (v > 0)
    weight = np.where(seen, 1.0 / np.where(seen, v, 1.0), 0.0)
    total = weight.sum(axis=0)
    sums = (weight * np.where(seen, y, 0.0)).sum(axis=0)
    return np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan)


def index_of(specs: tuple[StreamSpec, ...]) -> dict[str, int]:
    """Stream id to its place in the vectors."""
    return {spec.stream.id: place for place, spec in enumerate(specs)}
