"""`kedge check` and `kedge replay` on real sets with a source and domains: what they say in words.

Each set becomes a reference file and a log file. Where it carries no scores, a transferred and a
from-scratch model give them: gradient-boosted trees on rows of the source alone, and trees on the
first rows of the domain alone. The commands run as a user would run them, roles named; the table
says how long each took, what it found, and the first sentence about each domain.

    python -m benchmarks.real_sets --data DIR [--only heart,zozo] [--keep OUT]

DIR holds a folder a set with `data.parquet`; sets that are not there are left out, by name.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from detectors.records import BoolArray, FloatArray

Array = NDArray[np.generic]
MOST_ROWS = 6_000


@dataclass(frozen=True)
class Case:
    """Two tables and the roles of their columns. `streams`: worth replaying."""

    reference: pa.Table
    log: pa.Table
    roles: tuple[str, ...]
    replay: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """How models are made for a set that brings none."""

    domain: str
    source: str
    label: str
    features: tuple[str, ...]
    regression: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", type=Path, help="leave tables and reports here")
    given = parser.parse_args()
    wanted = set(filter(None, given.only.split(",")))
    with tempfile.TemporaryDirectory() as scratch:
        out = given.keep or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        for name, make in SETS.items():
            if wanted and name not in wanted:
                continue
            folder = next(iter(sorted(given.data.glob(f"{name}*"))), None)
            if folder is None:
                sys.stdout.write(f"\n## {name}: not in {given.data}\n")
                continue
            run(name, make(pq.read_table(folder / "data.parquet")), out)


def run(name: str, case: Case, out: Path) -> None:
    """Both commands on one set."""
    reference, log = out / f"{name}-reference.parquet", out / f"{name}-log.parquet"
    pq.write_table(case.reference, reference)
    pq.write_table(case.log, log)
    sys.stdout.write(
        f"\n## {name}: {case.reference.num_rows:,} + {case.log.num_rows:,} rows\n"
        f"   {' '.join(case.roles)} · replay {' '.join(case.replay)}\n"
    )
    check = kedge(
        out / f"{name}-check.json",
        ["check", "--reference", str(reference), "--current", str(log), *case.roles],
    )
    if check is not None:
        for report in check.get("reports", [check]):
            cause = report["diagnosis"]["mode"] if report["diagnosis"] else "-"
            say("check", report["domain"], report["state"], cause, report["headline"])
        for absent in check.get("absent", ()):
            say(
                "check",
                absent["domain"],
                "-",
                "-",
                absent.get("why", "no rows in one of the files"),
            )
    replay = kedge(
        out / f"{name}-replay.json",
        ["replay", "--reference", str(reference), "--log", str(log), *case.roles, *case.replay],
    )
    if replay is not None:
        for domain, verdict in replay["transfer"].items():
            budget = replay["budget"][domain]
            modes = [i["mode"] for i in replay["incidents"] if i["domain"] == domain]
            words = verdict.get("words") or ""
            promised = "promised" if budget["guaranteed"] else "not promised"
            say(
                "replay",
                domain,
                verdict["state"],
                ", ".join(modes) or "no incident",
                f"{budget['spent']} pages, {promised}; {words}",
            )
    sys.stdout.flush()


def kedge(out: Path, arguments: Sequence[str]) -> dict[str, Any] | None:
    """One command as a user runs it; its JSON, or None after saying how it failed."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *arguments, "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(
        f"   {arguments[0]}: exit {done.returncode}, {time.monotonic() - began:.1f} s\n"
    )
    if done.returncode:
        sys.stdout.write(f"   {done.stderr.strip().splitlines()[-1:]}\n")
        return None
    out.write_text(done.stdout)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def say(command: str, domain: str, state: str, cause: str, words: str) -> None:
    sys.stdout.write(f"   {command:6} {domain[:16]:16} {state:12} {cause[:60]:40} {words[:170]}\n")


# ---- tables with models made for them


def transferred(table: pa.Table, task: Task, domains: Sequence[str], scratch_rows: int) -> Case:
    """Half of the source trains one model; each domain's first rows train its own.

    The reference is the other half of the source; the log the rest of each domain.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    X = matrix(table, task.features)
    label = table.column(task.label).to_numpy().astype(float)
    domain = np.array(table.column(task.domain).to_pylist(), dtype=object)
    make: Callable[..., Any] = (
        HistGradientBoostingRegressor if task.regression else HistGradientBoostingClassifier
    )

    def fit(rows: Array, seed: int) -> Callable[[Array], FloatArray]:
        model = make(max_iter=80, random_state=seed, min_samples_leaf=10)
        known = ~np.isnan(X[rows]).all(axis=0)  # the trees refuse a column that is all null
        model.fit(X[rows][:, known], label[rows])
        if task.regression:
            return lambda rows: model.predict(X[rows][:, known])
        return lambda rows: model.predict_proba(X[rows][:, known])[:, 1]

    rng = np.random.default_rng(0)
    (source,) = np.nonzero(domain == task.source)
    source = rng.permutation(source)[: 4 * MOST_ROWS]
    half = len(source) // 2
    model = fit(source[:half], 1)
    held = source[half:][:MOST_ROWS]
    reference = scored(table, held, model(held), None)
    parts = []
    for name in domains:
        (rows,) = np.nonzero(domain == name)
        rows = rng.permutation(rows)[: scratch_rows + MOST_ROWS]
        count = min(scratch_rows, len(rows) // 2)
        first, rest = rows[:count], rows[count:]
        parts.append(scored(table, rest, model(rest), fit(first, 2)(rest)))
    roles: tuple[str, ...] = (
        f"--domain={task.domain}",
        "--score=score",
        "--baseline-score=baseline_score",
        f"--label={task.label}",
        f"--task={'regression' if task.regression else 'binary'}",
    )
    ignored = set(table.column_names) - {*task.features, task.domain, task.label}
    if ignored:
        roles += (f"--ignore={','.join(sorted(ignored))}",)
    return Case(reference, pa.concat_tables(parts), roles, ("--tick=50rows",))


def scored(
    table: pa.Table, rows: Array, score: FloatArray, baseline: FloatArray | None
) -> pa.Table:
    part = table.take(pa.array(rows)).append_column("score", pa.array(score))
    missing = pa.nulls(len(rows), pa.float64())
    return part.append_column("baseline_score", missing if baseline is None else pa.array(baseline))


def matrix(table: pa.Table, features: Sequence[str]) -> FloatArray:
    """Numbers as they are, text as ranks of its vocabulary, null as NaN."""
    columns = []
    for name in features:
        column = table.column(name)
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            columns.append(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
            continue
        codes = pc.rank(column.cast(pa.string()), tiebreaker="dense")
        ranks = codes.to_numpy().astype(float)
        ranks[column.is_null().to_numpy()] = np.nan
        columns.append(ranks)
    return np.column_stack(columns)


def acs(table: pa.Table) -> Case:
    features = tuple(n for n in table.column_names if n not in {"state", "label", "race5"})
    task = Task("state", "NY", "label", features)
    return transferred(table, task, ("NJ", "GA", "PA", "WA", "SD", "PR"), 2_000)


def heart(table: pa.Table) -> Case:
    features = tuple(n for n in table.column_names if n not in {"hospital", "label", "num"})
    task = Task("hospital", "cleveland", "label", features)
    return transferred(table, task, ("hungarian", "switzerland", "va"), 60)


def cars(table: pa.Table) -> Case:
    logged = pc.ln(table.column("price").cast(pa.float64()))
    table = table.append_column("log_price", logged)
    features = ("year", "transmission", "mileage", "fuelType", "tax", "mpg", "engineSize")
    task = Task("brand", "ford", "log_price", features, regression=True)
    return transferred(table, task, ("audi", "bmw", "toyota", "skoda"), 1_000)


def amazon(table: pa.Table) -> Case:
    """Embeddings of 400 numbers: a linear model on each side."""
    from sklearn.linear_model import LogisticRegression

    X = np.stack(table.column("embedding").to_numpy()).astype(np.float32)
    label = table.column("label").to_numpy()
    domain = np.array(table.column("domain").to_pylist(), dtype=object)
    table = table.set_column(
        table.schema.get_field_index("embedding"),
        "embedding",
        pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), X.shape[1]),
    )
    rng = np.random.default_rng(0)
    (source,) = np.nonzero(domain == "books")
    source = rng.permutation(source)
    model = LogisticRegression(max_iter=500).fit(X[source[:1000]], label[source[:1000]])
    reference = scored(table, source[1000:], model.predict_proba(X[source[1000:]])[:, 1], None)
    parts = []
    for name in ("dvd", "elec", "kitchen"):
        rows = rng.permutation(np.nonzero(domain == name)[0])
        own = LogisticRegression(max_iter=500).fit(X[rows[:300]], label[rows[:300]])
        rest = rows[300:]
        parts.append(
            scored(
                table,
                rest,
                model.predict_proba(X[rest])[:, 1],
                own.predict_proba(X[rest])[:, 1],
            )
        )
    roles = (
        "--domain=domain",
        "--score=score",
        "--baseline-score=baseline_score",
        "--label=label",
        "--embedding=embedding",
        "--ignore=row",
    )
    return Case(reference, pa.concat_tables(parts), roles, ("--tick=50rows",))


def in_time(
    table: pa.Table,
    *,
    time: str,
    task: Task,
    domains: Sequence[str],
    train_until: float,
    reference_until: float,
    roles: Sequence[str] = (),
    replay: Sequence[str] = (),
) -> Case:
    """Models learn on the first share of the time, the next is the reference, the rest the log.

    The transferred model learns on the source domain, the baseline on each domain's own rows of
    the first share's second half: it began later, with fewer rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    table = table.filter(pc.is_valid(table.column(task.label))).sort_by(time)
    stamps = table.column(time).cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    first, last = int(stamps[0]), int(stamps[-1])
    share = (stamps - first) / (last - first)
    X = matrix(table, task.features)
    label = table.column(task.label).to_numpy().astype(float)
    domain = np.array(table.column(task.domain).to_pylist(), dtype=object)

    def fit(rows: BoolArray, seed: int) -> HistGradientBoostingClassifier:
        model = HistGradientBoostingClassifier(max_iter=80, random_state=seed)
        return model.fit(X[rows], label[rows])

    early = share < train_until
    model = fit(early & (domain == task.source), 1)
    baseline = np.full(len(label), np.nan)
    for name in domains:
        mine = domain == name
        own = fit(early & (share > train_until / 2) & mine, 2)
        baseline[mine] = own.predict_proba(X[mine])[:, 1]
    score = model.predict_proba(X)[:, 1]
    chosen = np.isin(domain, list(domains))
    (ref,) = np.nonzero(chosen & ~early & (share < reference_until))
    (cur,) = np.nonzero(chosen & (share >= reference_until))
    ignored = set(table.column_names) - {*task.features, task.domain, task.label, time}
    return Case(
        scored(table, ref, score[ref], baseline[ref]),
        scored(table, cur, score[cur], baseline[cur]),
        (
            f"--timestamp={time}",
            f"--domain={task.domain}",
            "--score=score",
            "--baseline-score=baseline_score",
            f"--label={task.label}",
            *((f"--ignore={','.join(sorted(ignored))}",) if ignored else ()),
            *roles,
        ),
        tuple(replay),
    )


def hotel(table: pa.Table) -> Case:
    features = (
        "lead_time",
        "stays_in_weekend_nights",
        "stays_in_week_nights",
        "adults",
        "meal",
        "market_segment",
        "distribution_channel",
        "is_repeated_guest",
        "previous_cancellations",
        "reserved_room_type",
        "deposit_type",
        "customer_type",
        "adr",
        "total_of_special_requests",
    )
    return in_time(
        table.filter(pc.is_valid(table.column("country"))),
        time="booking_date",
        task=Task("country", "PRT", "label", features),
        domains=("GBR", "ESP", "IRL", "FRA"),
        train_until=0.45,
        reference_until=0.65,
        replay=("--label-delay=30d", "--tick=1d"),
    )


def flights(table: pa.Table) -> Case:
    features = (
        "hour",
        "sched_arr_time",
        "origin",
        "dest",
        "distance",
        "plane_year",
        "seats",
        "temp",
        "dewp",
        "humid",
        "wind_speed",
        "precip",
        "pressure",
        "visib",
    )
    return in_time(
        table,
        time="sched_ts",
        task=Task("carrier", "UA", "label", features),
        domains=("DL", "US", "MQ", "9E"),
        train_until=0.25,
        reference_until=0.45,
        replay=("--label-delay=1d", "--tick=1d", "--holidays=US"),
    )


def beijing(table: pa.Table) -> Case:
    features = ("PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "wd", "WSPM")
    recent = table.filter(
        pc.greater_equal(
            table.column("ts"),
            pa.scalar(datetime.fromisoformat("2015-06-01"), table.column("ts").type),
        )
    )
    return in_time(
        recent,
        time="ts",
        task=Task("station", "Dongsi", "label", features),
        domains=("Dingling", "Huairou", "Changping", "Tiantan"),
        train_until=0.4,
        reference_until=0.6,
        replay=("--label-delay=1d", "--tick=1d"),
    )


def zozo(table: pa.Table) -> Case:
    features = ("item_id", "position", "user_feature_0", "user_feature_1", "affinity_max")
    text = table.column("item_id").cast(pa.string())
    table = table.set_column(table.schema.get_field_index("item_id"), "item_id", text)
    return in_time(
        table.filter(pc.equal(table.column("policy"), "random")),
        time="timestamp",
        task=Task("campaign", "all", "click", features),
        domains=("men", "women"),
        train_until=0.4,
        reference_until=0.6,
        replay=("--tick=6h",),
    )


# ---- sets that bring their scores, or are one stream


def games(table: pa.Table) -> Case:
    table = table.select(["league", "season", "date", "prob", "outcome"])
    season = table.column("season")
    old = pc.less(season, 2019)
    roles = (
        "--timestamp=date",
        "--domain=league",
        "--score=prob",
        "--label=outcome",
        "--ignore=season",
    )
    return Case(table.filter(old), table.filter(pc.invert(old)), roles, ("--tick=1d",))


def employment(table: pa.Table) -> Case:
    """A log with a label and a year, but no time inside the year."""
    order = pa.array(np.arange(table.num_rows))
    table = table.append_column("place", order)
    early = pc.equal(table.column("period"), "reference")
    roles = (
        "--score=predicted_probability",
        "--prediction=prediction",
        "--label=employed",
        "--id=id",
        "--ignore=period,year,place",
    )
    keep = pc.equal(pc.bit_wise_and(order, 3), 0)
    return Case(
        table.filter(pc.and_(early, keep)),
        table.filter(pc.and_(pc.invert(early), keep)),
        roles,
        ("--tick=500rows",),
    )


def cifar(table: pa.Table) -> Case:
    """One network's outputs against the other's: top-label scores, classes as slices."""
    right = pc.equal(table.column("label"), table.column("pred")).cast(pa.float64())
    table = pa.table(
        {
            "net": table.column("model").cast(pa.string()),
            "conf": table.column("conf").cast(pa.float64()),
            "pred": table.column("pred").cast(pa.string()),
            "right": right,
            "row": table.column("row"),
        }
    )
    first = pc.less(table.column("row"), 5_000)
    table = table.drop_columns(["row"])
    roles = (
        "--domain=net",
        "--score=conf",
        "--prediction=pred",
        "--label=right",
        "--slice=pred",
        "--task=multiclass",
    )
    return Case(table.filter(first), table.filter(pc.invert(first)), roles, ("--tick=50rows",))


def single_stream(
    table: pa.Table, *, step: np.timedelta64, start: str, positive: int, drop: Sequence[str]
) -> Case:
    """Rows in order become equal steps of time; a model learns on the first quarter."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    count = table.num_rows
    stamps = np.datetime64(start) + np.arange(count) * step
    label = (table.column("label").to_numpy() == positive).astype(float)
    names = tuple(n for n in table.column_names if n not in {"label", *drop})
    X = matrix(table, names)
    quarter = count // 4
    model = HistGradientBoostingClassifier(max_iter=60).fit(X[:quarter], label[:quarter])
    out = table.select(list(names)).append_column("ts", pa.array(stamps.astype("datetime64[us]")))
    out = out.append_column("score", pa.array(model.predict_proba(X)[:, 1]))
    out = out.append_column("label", pa.array(label))
    roles = ("--timestamp=ts", "--score=score", "--label=label")
    return Case(out.slice(quarter, quarter), out.slice(2 * quarter), roles, ("--tick=1d",))


def elec(table: pa.Table) -> Case:
    return single_stream(
        table,
        step=np.timedelta64(30, "m"),
        start="1996-05-07T00:00:00",
        positive=1,
        drop=("t", "date", "day", "period"),
    )


def weather(table: pa.Table) -> Case:
    return single_stream(
        table, step=np.timedelta64(1, "D"), start="1949-01-01T12:00:00", positive=1, drop=("t",)
    )


def ozone(table: pa.Table) -> Case:
    drop = ("t", *(f"v{i}" for i in range(25, 73)))
    return single_stream(
        table, step=np.timedelta64(1, "D"), start="1998-01-01T12:00:00", positive=2, drop=drop
    )


SETS: dict[str, Callable[[pa.Table], Case]] = {
    "acs_income": acs,
    "heart": heart,
    "hotel": hotel,
    "uk_used_cars": cars,
    "amazon": amazon,
    "nyc_flights": flights,
    "beijing": beijing,
    "zozo": zozo,
    "fte_game": games,
    "cifar10": cifar,
    "ma_employment": employment,
    "elec2": elec,
    "noaa": weather,
    "ozone": ozone,
}

if __name__ == "__main__":
    main()
