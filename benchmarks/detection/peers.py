"""Peers as control, slow change and the median of a fleet, on real calendars.

    python -m benchmarks.detection.peers --data DIR [--only Beijing] [--reference 28,90] [--small]

Streams as in `real_streams.py`: every numeric column of a domain, by the day, in sd of its
reference; all of a domain under 1 page / 30 d. Where a column has peers, it and its difference have
half of its weight each, as in the program. The walk of a difference's level is chosen by back-test.

First table: columns with peers; incidents (alarms at most two days apart) per 30 days and domain ±
standard error over domains, of streams alone, with peers, and of the differences; share of
back-tests that passed; share of steps of 2 sd of the reference's days, one column of one domain at
a time, found within 7 days alone and with peers ± binomial standard error.

Second table: slow change, 3 tickets / 30 d a domain. Incidents per 30 days; share of steps of 2 sd
found within 14 days, and of ramps to 2 sd in 60 days found within 75, beside the share of the same
stretches that alarm unchanged; the same without the year, and of a
level that stands.

Third table: the median of the domains at 10 tickets / 30 d: incidents per 30 days, and the share of
2 sd steps of all domains together found within 7 days.

No real set is known to be free of change, so incidents bound false ones from above.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.detection.real_streams import CASES, Case, Ticks, alarms_of, incidents, ticks_of
from benchmarks.detection.simulator import mean_error
from detectors.day_streams import beside_peers
from detectors.evidence.backtest import WALKS, choose_walk
from detectors.evidence.bank import Bank, prime, start_bank
from detectors.evidence.design import Design
from detectors.evidence.fleet_median import fit_medians, median_days
from detectors.evidence.peers import Peers, Series, choose_peers
from detectors.evidence.reference import daily_spread
from detectors.records import DAY_US, Budget, FloatArray, Stream, StreamSpec, Tier

SETS = ("Beijing, 12 stations", "flights, 9 carriers", "resort bookings", "elec2", "NOAA", "ozone")
STEP_SD = 2.0
LEAD, SOON, LATER, RAMP, LONGEST = 12, 7, 14, 60, 75
SLOW = Budget(pages=3.0, ticket_factor=1.0)
SCALE_FLOOR = 0.3
"""Sampling variances of single columns are guesses here, as in `real_streams.py`."""


@dataclass(frozen=True)
class Domain:
    """One domain of a set: its days, where its reference ends, and who it is held against."""

    ticks: Ticks
    cut: int
    until: int
    specs: tuple[StreamSpec, ...]
    peers: Peers
    walk: float | None
    walk_sd: FloatArray
    control: dict[int, tuple[FloatArray, FloatArray]]

    @property
    def months(self) -> float:
        return (self.until - self.cut) / 30

    @property
    def compared(self) -> list[int]:
        """Places of the columns that are followed against peers too."""
        if self.walk is None:
            return []
        return [k for k, spec in enumerate(self.specs) if spec.stream.id in self.peers.controls]


def read(case: Case, limit: int | None) -> list[Domain]:
    """Every domain of a set with its peers."""
    table = pq.read_table(case.folder)
    cut = case.reference_days
    sets = [ticks_of(rows, DAY_US, cut) for rows in case.read(table)]
    names = [f"{number:02}" for number in range(len(sets))]
    found = {
        name: Series(t.starts_us, np.where(np.isfinite(t.v), t.y, 0.0), t.v)
        for name, t in zip(names, sets, strict=True)
    }
    past = {name: Series(s.starts_us[:cut], s.y[:cut], s.v[:cut]) for name, s in found.items()}
    domains = []
    for name in names[:limit]:
        others = {other: series for other, series in past.items() if other != name}
        domains.append(_domain(case, found[name], past[name], others, found))
    return domains


def _domain(
    case: Case, own: Series, past: Series, others: dict[str, Series], live: dict[str, Series]
) -> Domain:
    count = own.y.shape[1]
    streams = [Stream(f"c{k}", "mean", Tier.PAGE) for k in range(count)]
    specs = tuple(StreamSpec(stream, 1 / count, 0.0) for stream in streams)
    peers = choose_peers(past, others, [stream.id for stream in streams])
    cut = len(past.starts_us)
    until = min(len(own.y), cut + case.days)
    seen = np.where(np.isfinite(past.v), past.y, np.nan)
    spread = daily_spread(Design(DAY_US), past.starts_us, seen)
    control = {}
    for k, stream in enumerate(streams):
        if stream.id in peers.controls:
            each = [live[name].on(own.starts_us) for name in peers.controls[stream.id].peers]
            control[k] = (
                np.stack([y[:, k] for y, _ in each], axis=1),
                np.stack([v[:, k] for _, v in each], axis=1),
            )
    ticks = Ticks(own.starts_us, own.y, own.v)
    domain = Domain(ticks, cut, until, specs, peers, WALKS[0], spread, control)
    if not control:
        return replace(domain, walk=None)
    y, v = differences(domain, own.y)
    choice = choose_walk(
        own.starts_us[:cut],
        y[:cut],
        v[:cut],
        beside_peers(specs, peers.controls)[1],
        Budget(),
        tick_us=DAY_US,
        walk_sd=spread[domain.compared],
        holidays=case.holidays,
    )
    return replace(domain, walk=choice.level_walk)


def differences(domain: Domain, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The compared columns (T, k) less their peers."""
    pairs = [
        domain.peers.controls[domain.specs[k].stream.id].difference(
            y[:, k], domain.ticks.v[:, k], *domain.control[k]
        )
        for k in domain.compared
    ]
    if not pairs:
        empty = np.empty((len(y), 0))
        return empty, empty
    return np.stack([d for d, _ in pairs], axis=1), np.stack([v for _, v in pairs], axis=1)


def primed(
    case: Case,
    specs: Sequence[StreamSpec],
    ticks: Ticks,
    cut: int,
    *,
    budget: Budget | None = None,
    walk: float = 0.05,
    walk_sd: FloatArray | None = None,
    yearly: bool = False,
) -> Bank:
    bank = start_bank(
        specs,
        tick_us=DAY_US,
        budget=budget or Budget(),
        holidays=case.holidays,
        scale_floor=SCALE_FLOOR,
        level_walk=walk,
        walk_sd=walk_sd,
        yearly=yearly,
    )
    return prime(bank, ticks.starts_us[:cut], ticks.y[:cut], ticks.v[:cut])


def alone(case: Case, domain: Domain, y: FloatArray, until: int) -> list[tuple[int, int]]:
    """(instant, column) of the alarms without peers."""
    ticks = Ticks(domain.ticks.starts_us, y, domain.ticks.v)
    return alarms_of(primed(case, domain.specs, ticks, domain.cut), ticks, domain.cut, until)


def with_peers(
    case: Case, domain: Domain, y: FloatArray, until: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(instant, column) of alarms of streams at their part of the weight, and of differences."""
    compared = domain.compared
    if not compared:
        return alone(case, domain, y, until), []
    own, differing = beside_peers(domain.specs, domain.peers.controls)
    ticks = Ticks(domain.ticks.starts_us, y, domain.ticks.v)
    plain = alarms_of(primed(case, own, ticks, domain.cut), ticks, domain.cut, until)
    less = Ticks(domain.ticks.starts_us, *differences(domain, y))
    assert domain.walk is not None
    sd = domain.walk_sd[compared]
    bank = primed(case, differing, less, domain.cut, walk=domain.walk, walk_sd=sd)
    found = alarms_of(bank, less, domain.cut, until)
    return plain, [(at, compared[k]) for at, k in found]


def moved(domain: Domain, k: int, at: int, size: float, ramp: int = 1) -> FloatArray:
    """The domain's days with one column that steps, or climbs in `ramp` days, by `size`."""
    y = domain.ticks.y.copy()
    y[at:, k] += size * np.minimum(1.0, np.arange(1, len(y) - at + 1) / ramp)
    return y


def places(
    domain: Domain, rng: np.random.Generator, most: int, room: int
) -> list[tuple[int, int, float]]:
    """(column, first day, signed 2 sd) of changes to put in, one column each."""
    found = []
    for k in rng.permutation(len(domain.specs)):
        values = domain.ticks.y[: domain.cut, k][np.isfinite(domain.ticks.v[: domain.cut, k])]
        last = domain.until - room
        if len(values) < 10 or values.std() < 1e-6 or last <= domain.cut + LEAD:
            continue
        at = int(rng.integers(domain.cut + LEAD, last))
        found.append((int(k), at, STEP_SD * float(values.std()) * float(rng.choice([-1.0, 1.0]))))
        if len(found) == most:
            break
    return found


def is_found(alarms: Sequence[tuple[int, int]], k: int, start_us: int, days: int) -> bool:
    """Whether column k alarms within so many days of the start of a day."""
    return any(c == k and start_us < t <= start_us + days * DAY_US for t, c in alarms)


def share(hits: Sequence[bool]) -> str:
    """A share with its binomial standard error."""
    if not hits:
        return "–"
    p = float(np.mean(hits))
    return f"{100 * p:.0f} ± {100 * math.sqrt(p * (1 - p) / len(hits)):.0f} % of {len(hits)}"


def rate(values: Sequence[float]) -> str:
    mean, error = mean_error(np.array(values))
    return f"{mean:.2f}" if math.isnan(error) else f"{mean:.2f} ± {error:.2f}"


def peers_row(case: Case, domains: Sequence[Domain], steps: int, seed: int) -> None:
    single, both, less, hit_alone, hit_both = [], [], [], [], []
    for number, domain in enumerate(domains):
        y = domain.ticks.y
        plain, differing = with_peers(case, domain, y, domain.until)
        by_itself = alone(case, domain, y, domain.until)
        single.append(incidents([t for t, _ in by_itself]) / domain.months)
        both.append(incidents([t for t, _ in plain + differing]) / domain.months)
        less.append(incidents([t for t, _ in differing]) / domain.months)
        rng = np.random.default_rng([seed, number])
        for k, at, size in places(domain, rng, steps, LATER):
            changed, start = moved(domain, k, at, size), int(domain.ticks.starts_us[at])
            found = alone(case, domain, changed, at + LATER)
            hit_alone.append(is_found(found, k, start, SOON))
            plain, differing = with_peers(case, domain, changed, at + LATER)
            hit_both.append(is_found(plain + differing, k, start, SOON))
    columns = sum(len(domain.compared) for domain in domains)
    every = sum(len(domain.specs) for domain in domains)
    passed = sum(domain.walk is not None for domain in domains)
    sys.stdout.write(
        f"{case.name:24}{case.reference_days:>4} d  {columns} of {every}  {rate(single)}  "
        f"{rate(both)}  {rate(less)}  {passed} of {len(domains)}  "
        f"{share(hit_alone)}  {share(hit_both)}\n"
    )
    sys.stdout.flush()


SLOW_KINDS = (
    ("as it is", 0.03, True),
    ("without the year", 0.03, False),
    ("level that stands", 0.0, True),
)


def slow_rows(case: Case, domains: Sequence[Domain], steps: int, seed: int) -> None:
    for name, walk, yearly in SLOW_KINDS:
        rates: list[float] = []
        stepped: list[bool] = []
        ramped: list[bool] = []
        still: list[bool] = []
        for number, domain in enumerate(domains):
            bank = primed(
                case,
                domain.specs,
                domain.ticks,
                domain.cut,
                budget=SLOW,
                walk=walk,
                yearly=yearly,
            )
            plain = alarms_of(bank, domain.ticks, domain.cut, domain.until)
            rates.append(incidents([t for t, _ in plain]) / domain.months)
            rng = np.random.default_rng([seed, number])
            for k, at, size in places(domain, rng, steps, LONGEST):
                start = int(domain.ticks.starts_us[at])
                still.append(is_found(plain, k, start, LONGEST))
                for ramp, days, hits in ((1, LATER, stepped), (RAMP, LONGEST, ramped)):
                    y = moved(domain, k, at, size, ramp)
                    ticks = Ticks(domain.ticks.starts_us, y, domain.ticks.v)
                    found = alarms_of(bank, ticks, domain.cut, at + days)
                    hits.append(is_found(found, k, start, days))
        sys.stdout.write(
            f"{case.name:24}{case.reference_days:>4} d  slow, {name:17}{rate(rates)}  "
            f"steps {share(stepped)}  ramps {share(ramped)}  unchanged {share(still)}\n"
        )
        sys.stdout.flush()


def median_row(case: Case, domains: Sequence[Domain], seed: int) -> None:
    streams = [spec.stream.id for spec in domains[0].specs]
    live = {
        f"{number:02}": Series(d.ticks.starts_us, d.ticks.y, d.ticks.v)
        for number, d in enumerate(domains)
    }
    cut = case.reference_days
    past = {name: Series(s.starts_us[:cut], s.y[:cut], s.v[:cut]) for name, s in live.items()}
    medians = fit_medians(past, streams)
    if not medians:
        return
    days = median_days(medians, live, streams)
    ticks = Ticks(days.starts_us, days.y, days.v)
    until = min(len(days.y), cut + case.days)
    specs = tuple(
        StreamSpec(Stream(f"m{k}", "mean", Tier.TICKET), 1 / len(medians), 0.0)
        for k in range(len(medians))
    )
    bank = primed(case, specs, ticks, cut, yearly=True)
    plain = alarms_of(bank, ticks, cut, until)
    rng, hits = np.random.default_rng(seed), []
    for k in range(len(medians)):
        for _ in range(3):
            at = int(rng.integers(cut + LEAD, until - LATER))
            y = days.y.copy()
            y[at:, k] += STEP_SD * days.y[:cut, k].std() * rng.choice([-1.0, 1.0])
            found = alarms_of(bank, Ticks(days.starts_us, y, days.v), cut, at + LATER)
            hits.append(is_found(found, k, int(days.starts_us[at]), SOON))
    months = (until - cut) / 30
    sys.stdout.write(
        f"{case.name:24}{case.reference_days:>4} d  median of {len(domains)} in {len(medians)} "
        f"streams  {incidents([t for t, _ in plain]) / months:.2f}  {share(hits)}\n"
    )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="", help="beginnings of names of sets, with ; between")
    parser.add_argument("--reference", default="", help="days of reference, such as 28,90")
    parser.add_argument("--steps", type=int, default=6, help="changed columns a domain")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="two domains a set, one change each")
    given = parser.parse_args()
    wanted = tuple(filter(None, given.only.split(";"))) or SETS
    sys.stdout.write(
        "set, reference, columns with peers, incidents / 30 d alone, with peers, of differences, "
        "back-test, 2 sd ≤ 7 d alone, with peers\n"
    )
    seen: set[tuple[str, int]] = set()
    for known in CASES:
        if known.tick_us != DAY_US or not known.name.startswith(SETS):
            continue
        days = [int(n) for n in given.reference.split(",") if n] or [known.reference_days]
        if not known.name.startswith(wanted) or not (given.data / known.folder).exists():
            continue
        for reference in days:
            if (known.name, reference) in seen:
                continue
            seen.add((known.name, reference))
            folder = str(given.data / known.folder / "data.parquet")
            case = replace(known, folder=folder, reference_days=reference)
            domains = read(case, 2 if given.small else None)
            steps = 1 if given.small else given.steps
            peers_row(case, domains, steps, given.seed)
            slow_rows(case, domains, max(1, steps // 2), given.seed)
            median_row(case, domains, given.seed)


if __name__ == "__main__":
    main()
