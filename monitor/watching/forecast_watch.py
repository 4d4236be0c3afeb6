"""Evidence on calibration by cluster, followed beside the bank of the label clock.

A cluster counts in the base tick in which it begins: rows of it that come later might repeat an
outcome that is known, and are left out. That is decided before their labels are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

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
    Tier,
    Window,
    concat_windows,
    to_datetime,
)
from detectors.slices import slice_codes
from detectors.streams import effect_words
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
    `shift_of` reads. `told`: the verdict has been.
    """

    forecasts: Forecasts
    seen: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    seen_us: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    days: dict[int, FloatArray] = field(default_factory=dict)
    total: FloatArray = field(default_factory=lambda: np.zeros(SHIFT_SUMS))
    told: bool = False
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
        )


def open_forecast_watch(watch: Watch) -> ForecastWatch | None:
    """Nothing staked yet; None where clusters are unknown or ticks are row counts."""
    if not watch.forecast_specs or watch.settings.tick_rows is not None:
        return None
    return ForecastWatch(start_forecasts(len(watch.forecast_specs) - 1))


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
        places=len(watch.profile.slices),
        centre=null.centre,
        cost=null.cost,
    )
    before = forecast_watch.forecasts
    share = float(shares_at(np.array([age_us]), fleet=fleet)[0, 0])
    waited = (start_us - before.last_us.astype(np.float64)) / HOUR_US
    hours = np.where(before.last_us == NEVER, watch.base_tick_us / HOUR_US, waited)
    weight = np.array([spec.weight for spec in watch.forecast_specs])
    forecast_watch.forecasts, alarms = follow(
        before,
        tick,
        start_us=start_us,
        stake=weight * np.clip(hours, 0.0, LONGEST_GAP_HOURS) * share,
        threshold=watch.settings.budget.threshold_hours(Tier.PAGE),
        mute_us=MUTE_DAYS * DAY_US,
    )
    _add_day(forecast_watch, start_us, tick.sums)
    found = []
    for alarm in alarms:
        seen = forecast_watch.effect_of(alarm.place, alarm.onset_us)
        spec = watch.forecast_specs[alarm.place]
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
                detail=f"{effect_words(spec, effect, watch.profile)}, cluster by cluster",
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


def recent_shift(
    watch: Watch, progress_watch: ForecastWatch, stream: str
) -> tuple[float, float] | None:
    """The shift of a stream of this watch in the last 28 days of labels; None where it has none."""
    names = {VERDICT: 0, **{s.stream.id: at for at, s in enumerate(watch.forecast_specs)}}
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
