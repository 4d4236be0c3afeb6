"""How often `kedge replay` speaks when real rows are replayed in random order.

    python benchmarks/no_change_replay.py --seeds 3 --tick 1d --tick 6h

The flights of one large carrier pre-train a model, those of five smaller ones a baseline each, on
the first three months. From the other nine months every domain's rows are dealt out at random to
its own timestamps: volumes, columns and labels stay real and any change is destroyed. The first
60 days are the reference, the rest is replayed, so whatever is said is a false alarm. One more run
a seed replays the rows in their own order, for comparison (--in-order).

Columns: pages and tickets per 30 days of a domain; the upper 95 % limit of the page rate, as a
Poisson count; the share of the budget that limit is; pages outside the budget (schema, verdicts:
a transfer that hurts hurts in any order); seconds a domain. `--data` takes another file of flights
with the columns of the shipped one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alerts.records import Incident
from detectors.records import DAY_US, Budget, FloatArray, IntArray, Settings, Tier
from monitor.durations import parse_tick
from monitor.files.roles import Roles
from monitor.files.tables import Table, to_table
from monitor.replaying.replay import Replay, replay

DATA = Path(__file__).parents[1] / "monitor" / "demo" / "data" / "flights.parquet"
SOURCE = "UA"
LATE_MINUTES = 15
TRAINED_DAYS = 90
REFERENCE_DAYS = 60
LABEL_DELAY_US = 30 * 3_600_000_000
ROLES = Roles(
    timestamp="sched_ts",
    domain="carrier",
    score="score",
    baseline_score="baseline_score",
    label="label",
    label_timestamp="label_ts",
    slices=(("origin",),),
    ignore=("arr_delay",),
)


@dataclass(slots=True)
class Tally:
    """What was said over `periods` domain-periods of 30 days."""

    periods: float = 0.0
    pages: int = 0
    tickets: int = 0
    outside: int = 0
    seconds: float = 0.0
    domains: int = 0

    def add(self, result: Replay, seconds: float) -> None:
        for domain in result.domains:
            spending = {incident.id for incident in domain.page_incidents}
            self.periods += (domain.until_us - domain.since_us) / (30 * DAY_US)
            self.pages += len(spending)
            self.tickets += sum(_is_ticket(i) for i in domain.incidents)
            self.outside += sum(
                i.tier is Tier.PAGE and i.id not in spending for i in domain.incidents
            )
            self.domains += 1
        self.seconds += seconds

    def line(self, name: str, budget: Budget) -> str:
        from scipy.stats import chi2

        upper = float(chi2.ppf(0.95, 2 * (self.pages + 1))) / 2 / self.periods
        return (
            f"{name:>14} {self.periods:>8.0f} {self.pages:>6} {self.pages / self.periods:>10.3f} "
            f"{upper:>10.3f} {upper / budget.pages:>9.2f} {self.tickets / self.periods:>12.2f} "
            f"{self.outside:>8} {self.seconds / self.domains:>9.1f}"
        )


def _is_ticket(incident: Incident) -> bool:
    return incident.tier is Tier.TICKET


def scored(path: Path) -> pa.Table:
    """The flights after the training months, with both models' scores, sorted by time."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    flights = pq.read_table(path).sort_by("sched_ts")
    ts_us = pc.cast(flights["sched_ts"], pa.timestamp("us", tz="UTC"))
    flights = flights.set_column(flights.column_names.index("sched_ts"), "sched_ts", ts_us)
    at: IntArray = ts_us.cast(pa.int64()).to_numpy()
    late = (flights["arr_delay"].to_numpy() > LATE_MINUTES).astype(np.int8)
    X = _matrix(flights)
    carrier = np.array(flights["carrier"].to_pylist())
    early = at < at[0] + TRAINED_DAYS * DAY_US
    score, baseline = np.full(len(at), np.nan), np.full(len(at), np.nan)
    learner = HistGradientBoostingClassifier(max_iter=80, random_state=0)
    chosen = early & (carrier == SOURCE)
    score[:] = learner.fit(X[chosen], late[chosen]).predict_proba(X)[:, 1]
    for domain in sorted(set(carrier) - {SOURCE}):
        own = carrier == domain
        small = HistGradientBoostingClassifier(max_iter=40, random_state=0)
        small.fit(X[own & early], late[own & early])
        baseline[own] = small.predict_proba(X[own])[:, 1]
    label_ts = pa.array(at + LABEL_DELAY_US, pa.timestamp("us", tz="UTC"))
    table = flights.append_column("score", pa.array(score))
    table = table.append_column("baseline_score", pa.array(baseline))
    table = table.append_column("label", pa.array(late)).append_column("label_ts", label_ts)
    return table.filter(pa.array(~early & (carrier != SOURCE)))


def _matrix(flights: pa.Table) -> FloatArray:
    """Columns (n, p) as numbers, words by their place in the alphabet."""
    columns = []
    for name in flights.column_names:
        if name in {"sched_ts", "carrier", "arr_delay"}:
            continue
        values = flights[name]
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            words = np.array([word or "" for word in values.to_pylist()])
            columns.append(np.unique(words, return_inverse=True)[1].astype(float))
        else:
            columns.append(np.asarray(values.cast(pa.float64()).to_numpy()))
    return np.column_stack(columns)


def shuffled(table: pa.Table, *, seed: int) -> pa.Table:
    """Every domain's rows dealt out at random to its own timestamps; delays stay with the time."""
    rng = np.random.default_rng(seed)
    carrier = np.array(table["carrier"].to_pylist())
    order = np.arange(len(carrier))
    for domain in sorted(set(carrier)):
        own = np.flatnonzero(carrier == domain)
        order[own] = rng.permutation(own)
    dealt = table.take(pa.array(order))
    for name in ("sched_ts", "label_ts"):
        dealt = dealt.set_column(dealt.column_names.index(name), name, table[name])
    return dealt


def split(table: pa.Table) -> tuple[Table, Table]:
    """The first 60 days, and what follows them."""
    at = table["sched_ts"].cast(pa.int64()).to_numpy()
    first = at < at[0] // DAY_US * DAY_US + REFERENCE_DAYS * DAY_US
    reference = to_table(table.filter(pa.array(first)), ROLES, path="reference")
    return reference, to_table(table.filter(pa.array(~first)), ROLES, path="log", like=reference)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tick", action="append", help="1d, 6h, 1h or auto; may be repeated")
    parser.add_argument("--in-order", action="store_true", help="also replay the true order")
    given = parser.parse_args(arguments)
    flights, budget = scored(given.data), Budget()
    print(
        f"{'run':>14} {'periods':>8} {'pages':>6} {'pages/30d':>10} {'upper 95%':>10} "
        f"{'of budget':>9} {'tickets/30d':>12} {'outside':>8} {'s/domain':>9}"
    )
    for tick in given.tick or ["1d"]:
        settings = Settings(budget=budget, tick_us=parse_tick(tick)[0])
        tally = Tally()
        for seed in range(given.seeds):
            began = time.perf_counter()
            tally.add(replay(*split(shuffled(flights, seed=seed)), settings), _since(began))
            print(tally.line(f"{tick}, {seed + 1} seeds", budget), flush=True)
        if given.in_order:
            began = time.perf_counter()
            real = Tally()
            real.add(replay(*split(flights), settings), _since(began))
            print(real.line(f"{tick}, in order", budget), flush=True)


def _since(began: float) -> float:
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
