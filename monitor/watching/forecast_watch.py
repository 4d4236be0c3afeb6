"""Evidence on calibration by cluster, followed beside the bank of the label clock.

A cluster counts in the base tick in which it begins: rows of it that come later might repeat an
outcome that is known, and are left out. That is decided before their labels are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec
import numpy as np

from detectors.calibration.cluster_order import ALONE, clusters_in_order
from detectors.calibration.over_time import (
    NEVER,
    SHIFT_GATE,
    SHIFT_SUMS,
    VERDICT_ALPHA,
    Forecasts,
    follow,
    read_tick,
    shift_of,
    start_forecasts,
)
from detectors.evidence.budget import LONGEST_GAP_HOURS, MUTE_DAYS
from detectors.evidence.young import shares_at
from detectors.records import (
    DAY_US,
    HOUR_US,
    BoolArray,
    CalibratedTo,
    CodeArray,
    Finding,
    FloatArray,
    IntArray,
    Stream,
    StreamSpec,
    Tier,
    Window,
    concat_windows,
    to_datetime,
)
from detectors.slice_search import searched_columns
from detectors.slices import slice_codes
from detectors.streams import FOUND_SHARE, effect_words
from monitor.rows.base import RowSource
from monitor.watching.found_slices import (
    EVICTED_US,
    NO_SLOTS,
    SEARCH_EVERY_US,
    Slot,
    Slots,
    can_search,
    cleared,
    evicted,
    noted,
    proposed,
    with_found,
)
from monitor.watching.watch import Watch

VERDICT = "calibration.verdict"
REMEMBERED_US = 28 * DAY_US
MOST_REMEMBERED = 100_000
RECENT_US = 28 * DAY_US


@dataclass(slots=True, eq=False)
class ForecastWatch:
    """Where the evidence stands.

    `seen` (m,) are digests of the clusters that have begun, at `seen_us` (m,). `days` holds sums
    (k, S) of each of the last 28 days, `total` (k,) those of all rows since the start: what
    `shift_of` reads. `told`: the verdict has been. `slots` hold slices that a search found; those
    let go are not proposed before the instant `shelved` says. `specs`, `tick_us` and `clusters` say
    what is followed: its streams, every how much event time, by clusters or by rows.
    """

    forecasts: Forecasts
    specs: tuple[StreamSpec, ...] = ()
    tick_us: int = HOUR_US
    clusters: bool = False
    seen: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    seen_us: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    days: dict[int, FloatArray] = field(default_factory=dict)
    total: FloatArray = field(default_factory=lambda: np.zeros(SHIFT_SUMS))
    told: bool = False
    slots: Slots = NO_SLOTS
    shelved: dict[str, int] = field(default_factory=dict)
    pending: list[Window] = field(default_factory=list)

    def effect_of(self, place: int, since_us: int) -> tuple[float, float] | None:
        """The shift of log odds of a place since a day, and its standard error, by cluster."""
        parts = [sums[:, place] for day, sums in self.days.items() if day + DAY_US > since_us]
        return shift_of(np.sum(parts, axis=0)) if parts else None

    def to_dict(self) -> dict[str, Any]:
        """What is saved of it, as MessagePack can hold it."""
        return {
            "forecasts": {
                one.name: _out(getattr(self.forecasts, one.name)) for one in fields(Forecasts)
            },
            "seen": _out(self.seen),
            "seen_us": _out(self.seen_us),
            "days": [[day, _out(sums)] for day, sums in self.days.items()],
            "total": _out(self.total),
            "told": self.told,
            "specs": list(self.specs),
            "tick_us": self.tick_us,
            "clusters": self.clusters,
            "slots": [None if slot is None else slot.to_list() for slot in self.slots],
            "shelved": self.shelved,
        }

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> ForecastWatch:
        """Read back what `to_dict` gave."""
        return cls(
            forecasts=Forecasts(**{k: _in(value) for k, value in stored["forecasts"].items()}),
            seen=_in(stored["seen"]),
            seen_us=_in(stored["seen_us"]),
            days={day: _in(sums) for day, sums in stored["days"]},
            total=_in(stored["total"]),
            told=stored["told"],
            specs=msgspec.convert(stored.get("specs", ()), tuple[StreamSpec, ...]),
            tick_us=stored.get("tick_us", HOUR_US),
            clusters=stored.get("clusters", False),
            slots=tuple(None if slot is None else Slot.of(slot) for slot in stored["slots"]),
            shelved=dict(stored["shelved"]),
        )

    def evidence(self, threshold: float) -> FloatArray:
        """M / A (20,) of the slots."""
        held = self.forecasts.wealth[len(self.forecasts.wealth) - len(self.slots) :]
        return np.asarray(np.exp(np.logaddexp.reduce(held, axis=1)) / threshold)


def open_forecast_watch(watch: Watch) -> ForecastWatch | None:
    """Nothing staked yet; None where clusters are unknown or ticks are row counts."""
    if not watch.forecast_specs or watch.settings.tick_rows is not None:
        return None
    forecasts = start_forecasts(len(watch.forecast_specs) - 1 + len(NO_SLOTS))
    return described(ForecastWatch(forecasts), watch)


def described(forecast_watch: ForecastWatch, watch: Watch) -> ForecastWatch:
    """The same with what it follows written in it, which earlier builds did not save."""
    forecast_watch.specs = watch.forecast_specs
    forecast_watch.tick_us = watch.base_tick_us
    forecast_watch.clusters = bool(watch.profile.clusters)
    return forecast_watch


def gathering(
    pieces: Iterator[Window], watch: Watch, forecast_watch: ForecastWatch | None
) -> Iterator[Window]:
    """The same pieces, their rows kept until the base tick closes."""
    for piece in pieces:
        if forecast_watch is not None and piece.label is not None:
            forecast_watch.pending.append(_needed(piece, watch))
        yield piece


def _needed(piece: Window, watch: Watch) -> Window:
    """A piece with what is read of it alone, its labelled rows."""
    sliced = {name for ref in watch.profile.slices for name in ref.columns}
    sliced |= set(searched_columns(watch.schema))
    assert piece.label is not None
    thin = Window(
        rows=piece.rows,
        ts_us=piece.ts_us,
        score=piece.score,
        label=piece.label,
        cluster=piece.cluster,
        numeric={name: piece.numeric[name] for name in sliced & piece.numeric.keys()},
        categorical={name: piece.categorical[name] for name in sliced & piece.categorical.keys()},
    )
    scored = np.zeros(piece.rows) if piece.score is None else piece.score
    return thin.take(np.isfinite(piece.label) & np.isfinite(scored))


def step_forecast_watch(
    watch: Watch,
    forecast_watch: ForecastWatch | None,
    start_us: int,
    instant_us: int,
    *,
    age_us: int,
    fleet: bool,
) -> list[Finding]:
    """Judge the rows of a base tick by cluster: pages where a shift lasts, and once the verdict."""
    if forecast_watch is None or not forecast_watch.pending:
        return []
    rows = concat_windows(forecast_watch.pending)
    forecast_watch.pending = []
    null = watch.forecast_null
    assert null is not None
    if not rows.rows or rows.score is None:
        return []
    digests, numbers = clusters_in_order(rows)
    fresh = np.ones(len(digests), np.bool_)
    named = digests != ALONE
    fresh[named] = ~np.isin(digests[named], forecast_watch.seen)
    rows, numbers = rows.take(fresh[numbers]), numbers[fresh[numbers]]
    if not rows.rows:
        return []
    _remember(forecast_watch, digests[named & fresh], start_us)
    assert rows.label is not None
    assert rows.score is not None
    codes: list[CodeArray] = slice_codes(rows, watch.profile.slices)
    tick = read_tick(
        null.probability(rows.score),
        rows.label,
        np.unique(numbers, return_inverse=True)[1].astype(np.int64),
        codes,
        places=len(watch.profile.slices) + len(forecast_watch.slots),
        centre=null.centre,
        cost=null.cost,
        discount=null.discount,
    )
    p = null.probability(rows.score)
    tick = with_found(tick, forecast_watch.slots, rows, numbers, p, null)
    before = forecast_watch.forecasts
    share = float(shares_at(np.array([age_us]), fleet=fleet)[0, 0])
    waited = (start_us - before.last_us.astype(np.float64)) / HOUR_US
    hours = np.where(before.last_us == NEVER, watch.base_tick_us / HOUR_US, waited)
    specs = (*watch.forecast_specs, *found_specs(forecast_watch))
    weight = np.array([0.0 if spec is None else spec.weight for spec in specs])
    forecast_watch.forecasts, alarms = follow(
        before,
        tick,
        start_us=start_us,
        stake=weight * np.clip(hours, 0.0, LONGEST_GAP_HOURS) * share,
        threshold=watch.settings.budget.threshold_hours(Tier.PAGE),
        mute_us=MUTE_DAYS * DAY_US,
    )
    _add_day(forecast_watch, start_us, tick.sums)
    evidence = forecast_watch.evidence(watch.settings.budget.threshold_hours(Tier.PAGE))
    slots = noted(forecast_watch.slots, evidence, instant_us)
    places = [a.place - len(watch.forecast_specs) for a in alarms]
    forecast_watch.slots = tuple(
        replace(slot, shown_us=instant_us) if slot is not None and at in places else slot
        for at, slot in enumerate(slots)
    )
    found = []
    for alarm in alarms:
        seen = forecast_watch.effect_of(alarm.place, alarm.onset_us)
        spec = specs[alarm.place]
        assert spec is not None
        effect = 0.0 if seen is None else seen[0]
        found.append(
            Finding(
                kind="drift",
                ts=to_datetime(instant_us),
                onset=to_datetime(min(alarm.onset_us, instant_us)),
                stream=spec.stream.id,
                tier=Tier.PAGE if abs(effect) > spec.delta_min else Tier.LOG,
                slice=spec.stream.slice,
                evidence=alarm.evidence,
                effect=effect,
                detail=(
                    f"{effect_words(spec, effect, watch.profile)}, "
                    f"{'cluster by cluster' if watch.profile.clusters else 'row by row'}"
                    f"{_found_words(forecast_watch, spec)}"
                ),
            )
        )
    return [*found, *_verdict(watch, forecast_watch, instant_us)]


def _verdict(watch: Watch, forecast_watch: ForecastWatch, instant_us: int) -> list[Finding]:
    """A page, once, where scores that are held to outcomes have never been right."""
    against_outcomes = watch.settings.calibration is CalibratedTo.OUTCOMES
    state, seen = forecast_watch.forecasts, shift_of(forecast_watch.total)
    if forecast_watch.told or not against_outcomes or not state.never_right or seen is None:
        return []
    shift, error = seen
    if abs(shift) < SHIFT_GATE:
        return []
    forecast_watch.told = True
    where = "below" if shift < 0.0 else "above"
    return [
        Finding(
            kind="verdict",
            ts=to_datetime(instant_us),
            onset=to_datetime(min(forecast_watch.days, default=instant_us)),
            stream=VERDICT,
            tier=Tier.PAGE,
            evidence=float(np.exp(min(state.verdict_most, 700.0)) * VERDICT_ALPHA),
            effect=shift,
            detail=(
                f"scores are not the probabilities they claim to be: outcomes {where} them by "
                f"{abs(shift):.2f} ± {error:.2f} log odds over {state.clusters:,.0f} clusters "
                f"(asked once, at {VERDICT_ALPHA:.0%})"
            ),
        )
    ]


def found_specs(forecast_watch: ForecastWatch) -> tuple[StreamSpec | None, ...]:
    """The stream of each slot; those that hold a slice share what is kept for them."""
    held = sum(slot is not None for slot in forecast_watch.slots)
    return tuple(
        None
        if slot is None
        else StreamSpec(
            Stream("calibration", "by_cluster", Tier.PAGE, slice=slot.name),
            FOUND_SHARE / held,
            SHIFT_GATE,
        )
        for slot in forecast_watch.slots
    )


def search_when_due(
    watch: Watch,
    forecast_watch: ForecastWatch | None,
    rows: RowSource,
    *,
    end_us: int,
    instant_us: int,
    promised: bool,
) -> None:
    """Once a week let go of slices without evidence and look for new ones among judged rows."""
    if forecast_watch is None or end_us % SEARCH_EVERY_US or not can_search(watch):
        return
    null = watch.forecast_null
    slots, gone = evicted(forecast_watch.slots, instant_us)
    kept = {name: until for name, until in forecast_watch.shelved.items() if until > instant_us}
    forecast_watch.shelved = {**kept, **dict.fromkeys(gone, instant_us + EVICTED_US)}
    if promised and null is not None:
        shelved = frozenset(forecast_watch.shelved)
        new = proposed(watch, null, rows, slots, shelved, end_us=end_us, instant_us=instant_us)
        for place in range(len(slots)):
            if slots[place] is None and new:
                slots = (*slots[:place], new.pop(0), *slots[place + 1 :])
                at = len(watch.forecast_specs) + place
                forecast_watch.forecasts = cleared(forecast_watch.forecasts, at)
                for sums in forecast_watch.days.values():
                    sums[:, at] = 0.0
    forecast_watch.slots = slots


def followed_slices(watch: Watch, forecast_watch: ForecastWatch | None) -> list[dict[str, Any]]:
    """The found slices that are followed, with what has been seen of each, for people."""
    if forecast_watch is None:
        return []
    told = []
    evidence = forecast_watch.evidence(watch.settings.budget.threshold_hours(Tier.PAGE))
    for at, slot in enumerate(forecast_watch.slots):
        if slot is None:
            continue
        seen = forecast_watch.effect_of(len(watch.forecast_specs) + at, slot.born_us)
        told.append(
            {
                "name": slot.name,
                "since": to_datetime(slot.born_us).isoformat(),
                "evidence": round(float(evidence[at]), 4),
                "level": None if seen is None else round(seen[0], 4),
                "error": None if seen is None else round(seen[1], 4),
            }
        )
    return sorted(told, key=lambda one: (-float(one["evidence"] or 0.0), str(one["name"])))


def _found_words(forecast_watch: ForecastWatch, spec: StreamSpec) -> str:
    for slot in forecast_watch.slots:
        if slot is not None and slot.name == spec.stream.slice:
            since = f"{to_datetime(slot.born_us):%-d %b}"
            return f" (a slice that a search found on {since}, judged on rows since)"
    return ""


def recent_shift(
    watch: Watch, progress_watch: ForecastWatch, stream: str
) -> tuple[float, float] | None:
    """The shift of a stream of this watch in the last 28 days of labels; None where it has none."""
    specs = (*watch.forecast_specs, *found_specs(progress_watch))
    names = {VERDICT: 0, **{s.stream.id: at for at, s in enumerate(specs) if s is not None}}
    if stream not in names or not progress_watch.days:
        return None
    return progress_watch.effect_of(names[stream], max(progress_watch.days) + DAY_US - RECENT_US)


def _remember(forecast_watch: ForecastWatch, digests: IntArray, start_us: int) -> None:
    """Add clusters that began; forget those of over 28 days ago, and the oldest of too many."""
    kept: BoolArray = forecast_watch.seen_us > start_us - REMEMBERED_US
    seen = np.concatenate([forecast_watch.seen[kept], digests])
    when = np.concatenate([forecast_watch.seen_us[kept], np.full(len(digests), start_us)])
    forecast_watch.seen = seen[-MOST_REMEMBERED:]
    forecast_watch.seen_us = when[-MOST_REMEMBERED:]


def _add_day(forecast_watch: ForecastWatch, start_us: int, sums: FloatArray) -> None:
    day = start_us // DAY_US * DAY_US
    days = forecast_watch.days
    days[day] = days[day] + sums if day in days else sums
    for old in [one for one in days if one <= day - REMEMBERED_US]:
        del days[old]
    forecast_watch.total = forecast_watch.total + sums[:, 0]


def _out(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return [value.dtype.str, list(value.shape), value.tobytes()]


def _in(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, shape, body = value
    return np.frombuffer(body, dtype=kind).reshape(shape).copy()
