"""What the engine says of real calendars: incidents a month, labelled changes, injected steps.

    python -m benchmarks.detection.real_streams --data DIR [--only beijing,nab] [--small]

Every numeric column of a set is a stream: its mean in a tick, in sd of the reference, with the
sampling variance of independent rows as a guess (a rate: log odds). All streams of a domain share
one budget of 1 page / 30 d, as if each column were a consequence: stricter than the program, where
columns file tickets. No real set is known to be free of change, so incidents bound false ones from
above.

First table: days of reference and domain-months followed; incidents (alarms at most two days
apart) per 30 days ± standard error over domains; the same with the weeks of the whole set
permuted, which destroys drift and keeps weekdays (a domain's weeks are dealt the same way to all
its columns); the share of injected steps of 2 sd of the reference's ticks (one stream at a time,
twelve days into a random stretch) that alarm within 7 and 14 days; the share of domains whose
budget is promised.

Second table: labelled change points. An alarm is matched to the earliest change that is not yet
matched within its tolerance after it; others are false. NAB: a labelled window, hourly ticks, the
first 15 % as the reference; tickets (10 / 30 d), because series of two weeks are too young for
pages. elec2: row 17,424, where three columns begin to vary, within 36 days.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.detection.simulator import mean_error
from detectors.evidence.backtest import choose_tick
from detectors.evidence.bank import Bank, advance_block, prime, start_bank
from detectors.records import (
    DAY_US,
    HOUR_US,
    Budget,
    FloatArray,
    IntArray,
    Stream,
    StreamSpec,
    Tier,
)

STEP_SD = 2.0
STEP_AFTER_DAYS = 12
APART_US = 2 * DAY_US
SMALLEST_SD = 1e-3
AUTO = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """One domain: instants (n,) in us, columns (n, K) with NaN where empty; which are rates."""

    ts_us: IntArray
    values: FloatArray
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ticks:
    """Per tick: starts (T,), y and v (T, K)."""

    starts_us: IntArray
    y: FloatArray
    v: FloatArray


@dataclass(frozen=True, slots=True)
class Case:
    """A set under one tick length and reference; at most `days` of it are followed.

    A tick of `AUTO` is the one that the back-test chooses on the first domain's reference.
    """

    name: str
    read: Callable[[Any], Iterator[Rows]]
    folder: str
    tick_us: int
    reference_days: int
    holidays: str | None = None
    days: int = 2_000


def ticks_of(rows: Rows, tick_us: int, reference_days: int) -> Ticks:
    """Means per tick in sd of the reference's rows; columns of 0 and 1 as log odds."""
    first = int(rows.ts_us.min()) // DAY_US * DAY_US
    place = ((rows.ts_us - first) // tick_us).astype(np.int64)
    total = int(place.max()) + 1
    y = np.full((total, len(rows.names)), np.nan)
    v = np.full(y.shape, np.inf)
    reference = rows.ts_us < first + reference_days * DAY_US
    for k in range(len(rows.names)):
        x = rows.values[:, k]
        has = np.isfinite(x)
        n = np.bincount(place[has], minlength=total).astype(np.float64)
        sums = np.bincount(place[has], weights=x[has], minlength=total)
        base = x[has & reference]
        if not len(base):
            continue
        some = n > 0
        if np.isin(x[has], (0.0, 1.0)).all():
            rate = float((base.sum() + 0.5) / (len(base) + 1.0))
            y[some, k] = np.log((sums + 0.5) / (n - sums + 0.5))[some]
            v[some, k] = 1 / (n[some] * rate * (1 - rate))
        else:
            sd = max(float(base.std()), SMALLEST_SD * max(1.0, abs(float(base.mean()))))
            y[some, k] = ((sums[some] / n[some]) - base.mean()) / sd
            v[some, k] = 1 / n[some]
    return Ticks(first + np.arange(total, dtype=np.int64) * tick_us, y, v)


def specs_of(count: int, tier: Tier = Tier.PAGE) -> list[StreamSpec]:
    """So many streams that share one budget."""
    return [StreamSpec(Stream(f"c{k}", "mean", tier), 1 / count, 0.0) for k in range(count)]


def primed(ticks: Ticks, cut: int, case: Case, tier: Tier = Tier.PAGE) -> Bank:
    specs = specs_of(ticks.y.shape[1], tier)
    bank = start_bank(
        specs, tick_us=case.tick_us, budget=Budget(), holidays=case.holidays, scale_floor=0.3
    )
    return prime(bank, ticks.starts_us[:cut], ticks.y[:cut], ticks.v[:cut])


def alarms_of(bank: Bank, ticks: Ticks, cut: int, until: int) -> list[tuple[int, int]]:
    """(instant at the end of the tick, stream) of each alarm."""
    part = slice(cut, until)
    _, found = advance_block(bank, ticks.starts_us[part], ticks.y[part], ticks.v[part])
    return [(int(ticks.starts_us[cut + at]) + bank.tick_us, alarm.stream) for at, alarm in found]


def incidents(instants: list[int]) -> int:
    """Runs of alarms with gaps of at most two days."""
    ordered = sorted(instants)
    return sum(1 for i, at in enumerate(ordered) if i == 0 or at - ordered[i - 1] > APART_US)


def permuted(ticks: Ticks, rng: np.random.Generator, tick_us: int, control: str = "weeks") -> Ticks:
    """Whole weeks in random order; what is left over at the end stays there.

    `control` "level weeks": each at the level of all, so that only what happens inside a week is
    left; "fortnights": blocks of two weeks.
    """
    week = 7 * DAY_US // tick_us
    length = 2 * week if control == "fortnights" else week
    blocks = len(ticks.y) // length
    order = rng.permutation(blocks)
    index = (order[:, None] * length + np.arange(length)).ravel()
    index = np.concatenate([index, np.arange(blocks * length, len(ticks.y))])
    y, v = ticks.y[index], ticks.v[index]
    if control == "level weeks":
        seen = np.where(np.isfinite(v), y, np.nan)
        for first in range(0, len(y), week):
            part = slice(first, first + week)
            has = np.isfinite(seen[part]).any(axis=0)
            y[part, has] += np.nanmean(seen[:, has], axis=0) - np.nanmean(
                seen[part][:, has], axis=0
            )
    return Ticks(ticks.starts_us, y, v)


def stepped(
    ticks: Ticks, cut: int, case: Case, rng: np.random.Generator, most: int
) -> tuple[list[float], int]:
    """Days to the first alarm of a stream that steps by 2 sd, one stream at a time."""
    per_day = DAY_US // case.tick_us
    lead, room = STEP_AFTER_DAYS * per_day, 14 * per_day
    last = min(len(ticks.y), cut + case.days * per_day) - room
    found, tried = [], 0
    streams = rng.permutation(ticks.y.shape[1])[:most]
    if last <= cut + lead:
        return [], 0
    for k in streams:
        values = ticks.y[:cut, k]
        values = values[np.isfinite(values)]
        if len(values) < 10 or values.std() < 1e-6:
            continue
        at = int(rng.integers(cut + lead, last))
        y = ticks.y.copy()
        y[at:, k] += STEP_SD * values.std() * rng.choice([-1.0, 1.0])
        bank = primed(ticks, cut, case)
        moved = Ticks(ticks.starts_us, y, ticks.v)
        own = [t for t, stream in alarms_of(bank, moved, cut, at + room) if stream == k]
        late = [t for t in own if t > int(ticks.starts_us[at])]
        tried += 1
        found.append((late[0] - int(ticks.starts_us[at])) / DAY_US if late else math.inf)
    return found, tried


def calendar(case: Case, folder: Path, seed: int, small: bool, control_by: str = "weeks") -> None:
    table = pq.read_table(folder / "data.parquet")
    per_day = DAY_US // case.tick_us
    cut = case.reference_days * per_day
    rates, control, days, promised, steps, months = [], [], [], 0, 0, 0.0
    for number, rows in enumerate(case.read(table)):
        if small and number:
            break
        rng = np.random.default_rng([seed, number])
        ticks = ticks_of(rows, case.tick_us, case.reference_days)
        until = min(len(ticks.y), cut + case.days * per_day)
        if until - cut < 14 * per_day:
            continue
        period = (until - cut) / per_day / 30
        months += period
        bank = primed(ticks, cut, case)
        promised += bank.guaranteed
        found = alarms_of(bank, ticks, cut, until)
        rates.append(incidents([t for t, _ in found]) / period)
        for _ in range(1 if small else 3):
            dealt = permuted(ticks, rng, case.tick_us, control_by)
            found = alarms_of(primed(dealt, cut, case), dealt, cut, until)
            control.append(incidents([t for t, _ in found]) / period)
        seen, tried = stepped(ticks, cut, case, rng, 2 if small else 6)
        days += seen
        steps += tried
    mean, error = mean_error(np.array(rates))
    permuted_mean, permuted_error = mean_error(np.array(control))
    reach = [float(np.mean(np.array(days) <= limit)) if steps else math.nan for limit in (7, 14)]
    sys.stdout.write(
        f"{case.name:36}{case.reference_days:>5} d{months:>8.0f}"
        f"{f'{mean:.2f} ± {error:.2f}':>16}{f'{permuted_mean:.2f} ± {permuted_error:.2f}':>16}"
        f"{reach[0]:>8.0%}{reach[1]:>6.0%} of {steps:<4}{promised:>4} of {len(rates)}\n"
    )
    sys.stdout.flush()


def chosen(case: Case, folder: Path) -> Case:
    """The case at the tick that the program would take: the shortest that keeps its budget."""
    rows = next(iter(case.read(pq.read_table(folder / "data.parquet"))))
    candidates = {}
    for tick_us in (HOUR_US, 6 * HOUR_US, DAY_US):
        ticks, cut = ticks_of(rows, tick_us, case.reference_days), case.reference_days * DAY_US
        cut //= tick_us
        candidates[tick_us] = (ticks.starts_us[:cut], ticks.y[:cut], ticks.v[:cut])
    choice = choose_tick(
        candidates, specs_of(len(rows.names)), Budget(), holidays=case.holidays, scale_floor=0.3
    )
    hours = choice.tick_us // HOUR_US
    return replace(case, name=f"{case.name}: {hours} h", tick_us=choice.tick_us)


def _instants(table: Any, column: str) -> IntArray:
    stamps = table.column(column).to_numpy().astype("datetime64[us]")
    return np.asarray(stamps.astype(np.int64))


def _columns(table: Any, names: tuple[str, ...]) -> FloatArray:
    arrays = [table.column(n).to_numpy(zero_copy_only=False).astype(np.float64) for n in names]
    return np.stack(arrays, axis=1)


def by_domain(
    time: str,
    domain: str | None,
    names: tuple[str, ...],
    most: int = 12,
    since: str = "1900-01-01",
) -> Callable[[Any], Iterator[Rows]]:
    """Reads a table with instants; its largest domains one by one."""

    def read(table: Any) -> Iterator[Rows]:
        ts, values = _instants(table, time), _columns(table, names)
        recent = ts >= np.datetime64(since, "us").astype(np.int64)
        ts, values = ts[recent], values[recent]
        if domain is None:
            yield Rows(ts, values, names)
            return
        kinds = table.column(domain).to_numpy(zero_copy_only=False)[recent]
        found, rows = np.unique(kinds, return_counts=True)
        for one in found[np.argsort(-rows, kind="stable")][:most]:
            mask = kinds == one
            yield Rows(ts[mask], values[mask], names)

    return read


def in_order(step_us: int, start: str, names: tuple[str, ...]) -> Callable[[Any], Iterator[Rows]]:
    """Reads a table whose rows follow each other in equal steps; no names: every number."""

    def read(table: Any) -> Iterator[Rows]:
        begin = int(np.datetime64(start, "us").astype(np.int64))
        wanted = names or tuple(n for n in table.column_names if n not in {"t", "label"})
        yield Rows(
            begin + np.arange(table.num_rows, dtype=np.int64) * step_us,
            _columns(table, wanted),
            wanted,
        )

    return read


AIR = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "WSPM")
FLIGHTS = ("label", "distance", "seats", "plane_year", "temp", "wind_speed", "visib")
BOOKINGS = (
    "label",
    "lead_time",
    "stays_in_weekend_nights",
    "stays_in_week_nights",
    "adults",
    "children",
    "adr",
    "total_of_special_requests",
)
MARKET = ("nswprice", "nswdemand", "vicprice", "vicdemand", "transfer", "label")
_air = by_domain("ts", "station", AIR)
_carrier = by_domain("sched_ts", "carrier", FLIGHTS, 9)
_all = by_domain("sched_ts", None, FLIGHTS)
_resort = by_domain("booking_date", None, BOOKINGS, since="2015-07-01")
_market = in_order(HOUR_US // 2, "1996-05-07", MARKET)
_weather = in_order(DAY_US, "1949-01-01T12:00", ())
_ozone = in_order(DAY_US, "1998-01-01T12:00", ())
_AIR, _FLIGHTS = "beijing_air_stations", "nyc_flights_2013"
CASES = (
    Case("Beijing, 12 stations", _air, _AIR, DAY_US, 28),
    Case("Beijing, 12 stations", _air, _AIR, DAY_US, 90),
    Case("flights, 9 carriers", _carrier, _FLIGHTS, DAY_US, 28, "US"),
    Case("flights, 9 carriers", _carrier, _FLIGHTS, DAY_US, 60, "US"),
    Case("flights, all carriers", _all, _FLIGHTS, DAY_US, 28, "US"),
    Case("flights, all carriers, hourly", _all, _FLIGHTS, HOUR_US, 28, "US"),
    Case("flights, all carriers, auto", _all, _FLIGHTS, AUTO, 28, "US"),
    Case("flights, all carriers, auto", _all, _FLIGHTS, AUTO, 60, "US"),
    Case("resort bookings", _resort, "hotel_bookings_resort", DAY_US, 60, "PT"),
    Case("elec2", _market, "elec2_nsw", DAY_US, 90),
    Case("elec2, 6 h", _market, "elec2_nsw", 6 * HOUR_US, 90),
    Case("NOAA Bellevue, 10 years", _weather, "noaa_weather_bellevue", DAY_US, 90, None, 3_650),
    Case("ozone Houston (negative control)", _ozone, "ozone_houston", DAY_US, 90),
)


@dataclass(slots=True)
class Score:
    """Alarms against labelled changes, summed over series."""

    hits: int = 0
    false: int = 0
    changes: int = 0
    months: float = 0.0

    def words(self) -> str:
        recall = self.hits / max(self.changes, 1)
        precision = self.hits / max(self.hits + self.false, 1)
        f1 = 2 * recall * precision / max(recall + precision, 1e-9)
        return (
            f"{self.hits} of {self.changes} found, {self.false} other alarms "
            f"({self.false / max(self.months, 1e-9):.2f} / 30 d), recall {recall:.2f}, "
            f"precision {precision:.2f}, F1 {f1:.2f}"
        )


def match(alarms: list[int], changes: list[tuple[int, int]], score: Score) -> list[float]:
    """Count alarms into `score`; returns delays in days. changes are (from, until) instants."""
    open_changes = sorted(changes)
    score.changes += len(changes)
    delays = []
    for at in sorted(alarms):
        hit = next((c for c in open_changes if c[0] <= at <= c[1]), None)
        if hit is not None:
            open_changes.remove(hit)
            score.hits += 1
            delays.append((at - hit[0]) / DAY_US)
        elif not any(c[0] <= at <= c[1] for c in changes):
            score.false += 1
    return delays


def windows(ts_us: IntArray, inside: FloatArray) -> list[tuple[int, int]]:
    """(first, last) instant of each run of rows inside a labelled window."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0.0], inside, [0.0]])))
    return [
        (int(ts_us[a]), int(ts_us[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def nab(folder: Path, small: bool) -> None:
    table = pq.read_table(folder / "data.parquet")
    series = table.column("series").to_numpy(zero_copy_only=False)
    ts = _instants(table, "timestamp")
    values = _columns(table, ("value", "in_window"))
    case = Case("NAB", _all, "", HOUR_US, 0)
    score, delays, followed = Score(), [], 0
    for name in np.unique(series)[: 8 if small else None]:
        order = np.flatnonzero(series == name)
        order = order[np.argsort(ts[order], kind="stable")]
        begin = int(ts[order[0]]) // DAY_US * DAY_US
        span = (int(ts[order[-1]]) - begin) / DAY_US
        reference = max(2, math.ceil(0.15 * span))
        rows = Rows(ts[order], values[order][:, :1], ("value",))
        ticks = ticks_of(rows, HOUR_US, reference)
        cut = reference * 24
        if len(ticks.y) - cut < 24:
            continue
        bank = primed(ticks, cut, case, Tier.TICKET)
        alarms = [t for t, _ in alarms_of(bank, ticks, cut, len(ticks.y))]
        opened = int(ticks.starts_us[cut])
        labelled = [
            (a, b + HOUR_US) for a, b in windows(ts[order], values[order][:, 1]) if a >= opened
        ]
        score.months += (len(ticks.y) - cut) / 24 / 30
        followed += 1
        delays += match(alarms, labelled, score)
    waited = f", median delay {np.median(delays):.1f} d" if delays else ""
    sys.stdout.write(f"NAB, {followed} series: {score.words()}{waited}\n")


def elec2(folder: Path) -> None:
    (rows,) = _market(pq.read_table(folder / "data.parquet"))
    case = Case("elec2", _market, "elec2_nsw", DAY_US, 90)
    ticks = ticks_of(rows, DAY_US, 90)
    alarms = alarms_of(primed(ticks, 90, case), ticks, 90, len(ticks.y))
    change = int(rows.ts_us[17_424]) // DAY_US * DAY_US
    for k, name in enumerate(MARKET):
        own = [t for t, stream in alarms if stream == k]
        score = Score(months=(len(ticks.y) - 90) / 30)
        constant = name in {"vicprice", "vicdemand", "transfer"}
        delays = match(own, [(change, change + 36 * DAY_US)] if constant else [], score)
        waited = f", after {delays[0]:.0f} d" if delays else ""
        sys.stdout.write(
            f"elec2 {name}: {score.words() if constant else f'{len(own)} alarms'}{waited}\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="", help="beginnings of folder names")
    parser.add_argument("--name", default="", help="beginning of the name of a case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--control",
        default="weeks",
        choices=("weeks", "level weeks", "fortnights"),
        help="what is dealt at random for the column `permuted`",
    )
    parser.add_argument("--small", action="store_true", help="one domain a set, fewer steps")
    given = parser.parse_args()
    wanted = tuple(filter(None, given.only.split(","))) or ("",)
    sys.stdout.write(
        f"{'set':36}{'ref':>7}{'months':>8}{'incidents / 30 d':>16}{'permuted':>16}"
        f"{'2 sd ≤ 7':>8}{'≤ 14 d':>7}{'promised':>14}\n"
    )
    for known in CASES:
        case = known
        folder = given.data / case.folder
        if not case.folder.startswith(wanted) or not case.name.startswith(given.name):
            continue
        if folder.exists():
            case = chosen(case, folder) if case.tick_us == AUTO else case
            calendar(case, folder, given.seed, given.small, given.control)
        else:
            sys.stdout.write(f"{case.name}: {case.folder} is not in {given.data}\n")
    for name, show in (
        ("nab_labelled_series", lambda folder: nab(folder, given.small)),
        ("elec2_nsw", elec2),
    ):
        if name.startswith(wanted) and (given.data / name).exists():
            show(given.data / name)


if __name__ == "__main__":
    main()
