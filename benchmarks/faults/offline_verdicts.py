"""Does `kedge replay` say what an offline experiment on real domains says?

    python -m benchmarks.faults.offline_verdicts --data DIR --sets acs,heart,resort --seed 0

For every domain a network is trained on the source, and served as it is (zero-shot) or fine-tuned
on some of the domain's rows (adapted); the baseline is the same network trained on those rows
alone. Offline, rows that no model has seen are compared at once, with a bootstrap written here and
nothing of Kedge's. Then the same rows go through the replay as a log. A case is *clear* where
the offline difference lies at least three standard errors beyond the margin, 1 % of the
baseline's loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import nn

from benchmarks.faults.model import Encoder, Model, _train
from benchmarks.faults.tables import Rows, _strings
from detectors.records import DAY_US, FloatArray, IntArray, Settings, Task
from monitor.files.roles import Roles
from monitor.files.tables import to_table
from monitor.replaying.replay import replay

STATES = ("PR", "NJ", "GA", "WA", "OH", "MI", "NC", "UT", "MS", "WV", "AK", "VT", "HI", "LA")
COUNTRIES = ("GBR", "ESP", "IRL", "FRA", "DEU", "CN", "NLD", "USA", "ITA", "BEL", "BRA")
MOST_SOURCE, MOST_TUNING, MOST_REFERENCE, MOST_LOG = 15_000, 1_500, 1_000, 6_000
MARGIN, CLEAR_SE, BOOTSTRAPS = 0.01, 3.0, 1_000


@dataclass(frozen=True)
class Domain:
    """Source and domain rows; `day` orders the domain's where the set has times."""

    name: str
    source: Rows
    rows: Rows
    day: IntArray | None


@dataclass(frozen=True)
class Case:
    """One domain and one served model: what was found offline, and what the replay says."""

    name: str
    arm: str
    rows: int
    difference: float
    se: float
    margin: float
    word: str
    needed: int | None

    @property
    def clear(self) -> str:
        """hurts or helps where the offline difference is far beyond the margin, else ""."""
        if self.difference - CLEAR_SE * self.se > self.margin:
            return "hurts"
        return "helps" if self.difference + CLEAR_SE * self.se < -self.margin else ""


def acs(data: Path, rng: np.random.Generator) -> Iterator[Domain]:
    table = pq.read_table(data / "acs_income_us_states" / "data.parquet")
    table = table.filter(pc.is_in(table["state"], value_set=pa.array(["NY", *STATES])))
    get = {name: np.asarray(table[name]) for name in table.column_names}
    rows = Rows(
        {name: get[name].astype(np.float64) for name in ("AGEP", "SCHL", "WKHP")},
        {
            **{name: _strings(get[name]) for name in ("COW", "RELP", "MAR", "SEX")},
            "OCC": _strings(get["OCCP"] // 500),
        },
        get["label"].astype(np.float64),
    )
    yield from _domains(rows, get["state"], "NY", STATES, None, rng)


def heart(data: Path, rng: np.random.Generator) -> Iterator[Domain]:
    table = pq.read_table(data / "heart_four_hospitals" / "data.parquet")
    get = {name: np.asarray(table[name]) for name in table.column_names}
    numeric = ("age", "trestbps", "chol", "thalach", "oldpeak", "ca")
    words = ("sex", "cp", "fbs", "restecg", "exang", "slope", "thal")
    rows = Rows(
        {name: get[name].astype(np.float64) for name in numeric},
        {name: _strings(get[name]) for name in words},
        get["label"].astype(np.float64),
    )
    yield from _domains(
        rows, get["hospital"], "cleveland", ("hungarian", "switzerland", "va"), None, rng
    )


def resort(data: Path, rng: np.random.Generator) -> Iterator[Domain]:
    table = pq.read_table(data / "hotel_bookings_resort" / "data.parquet")
    table = table.filter(pc.is_valid(table["country"]))
    get = {name: np.asarray(table[name]) for name in table.column_names}
    numeric = ("lead_time", "stays_in_week_nights", "adults", "adr", "total_of_special_requests")
    words = ("meal", "market_segment", "reserved_room_type", "deposit_type", "customer_type")
    rows = Rows(
        {name: get[name].astype(np.float64) for name in numeric},
        {name: _strings(get[name]) for name in words},
        get["label"].astype(np.float64),
    )
    day = get["booking_date"].astype("datetime64[D]").astype(np.int64)
    yield from _domains(rows, get["country"], "PRT", COUNTRIES, day, rng)


def _domains(
    rows: Rows,
    of: np.ndarray[tuple[int], np.dtype[np.object_]],
    source: str,
    names: tuple[str, ...],
    day: IntArray | None,
    rng: np.random.Generator,
) -> Iterator[Domain]:
    at_home = rows.take(rng.permutation(np.flatnonzero(of == source))[:MOST_SOURCE])
    for name in names:
        own = np.flatnonzero(of == name)
        order = rng.permutation(own) if day is None else own[np.argsort(day[own], kind="stable")]
        yield Domain(name, at_home, rows.take(order), None if day is None else day[order])


def network(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1)
    )


def cases(domain: Domain, seed: int) -> Iterator[Case]:
    """Both served models of a domain, offline and through the replay."""
    n = len(domain.rows)
    tuning = min(MOST_TUNING, int(0.4 * n))
    reference = min(MOST_REFERENCE, int(0.2 * (n - tuning)))
    end = min(n, tuning + reference + MOST_LOG)
    tune = domain.rows.take(slice(0, tuning))
    torch.manual_seed(seed)
    encoder = Encoder.fit(domain.source)
    width = encoder(domain.source.take(slice(0, 1))).shape[1]
    home = _train(network(width), encoder, domain.source, seed, 15, 256, 2e-3, 3)
    zero = 1 / (1 + np.exp(-Model(encoder, home).logit(domain.rows)))
    tuned = _train(home, encoder, tune, seed, 60, 64, 1e-3, 8)
    adapted = 1 / (1 + np.exp(-Model(encoder, tuned).logit(domain.rows)))
    torch.manual_seed(seed + 1)
    own = Encoder.fit(tune)
    scratch = _train(
        network(own(tune.take(slice(0, 1))).shape[1]), own, tune, seed, 60, 64, 2e-3, 8
    )
    baseline = 1 / (1 + np.exp(-Model(own, scratch).logit(domain.rows)))
    for arm, score in (("zero-shot", zero), ("adapted", adapted)):
        yield _case(domain, arm, score, baseline, tuning, tuning + reference, end, seed)


def _case(
    domain: Domain,
    arm: str,
    score: FloatArray,
    baseline: FloatArray,
    begin: int,
    live: int,
    end: int,
    seed: int,
) -> Case:
    label = domain.rows.label
    fresh = slice(live, end)
    difference = _loss(score[fresh], label[fresh]) - _loss(baseline[fresh], label[fresh])
    rng = np.random.default_rng(seed)
    count = len(difference)
    means = [difference[rng.integers(0, count, count)].mean() for _ in range(BOOTSTRAPS)]
    word, needed = _replayed(domain, score, baseline, begin, live, end)
    return Case(
        domain.name,
        arm,
        count,
        float(difference.mean()),
        float(np.std(means)),
        MARGIN * float(_loss(baseline[fresh], label[fresh]).mean()),
        word,
        needed,
    )


def _loss(score: FloatArray, label: FloatArray) -> FloatArray:
    p = np.clip(score, 0.01, 0.99)
    return np.where(label == 1.0, -np.log(p), -np.log1p(-p))


def _replayed(
    domain: Domain, score: FloatArray, baseline: FloatArray, begin: int, live: int, end: int
) -> tuple[str, int | None]:
    """The word and the rows still needed of `kedge replay` on the same rows."""
    columns: dict[str, object] = {**domain.rows.numeric, **domain.rows.categorical}
    columns |= {"score": score, "baseline_score": baseline, "label": domain.rows.label}
    timestamp = None
    if domain.day is not None:
        columns["ts"] = pa.array(domain.day * DAY_US, pa.timestamp("us", tz="UTC"))
        timestamp = "ts"
    table = pa.table(columns)
    roles = Roles(
        timestamp=timestamp,
        score="score",
        baseline_score="baseline_score",
        label="label",
        task=Task.BINARY,
        numeric=tuple(domain.rows.numeric),
        categorical=tuple(domain.rows.categorical),
    )
    reference = to_table(table.slice(begin, live - begin), roles)
    log = to_table(table.slice(live, end - live), roles, like=reference)
    settings = Settings(tick_us=DAY_US) if timestamp else Settings(tick_rows=50)
    verdict = replay(reference, log, settings).domains[0].verdict
    return verdict.state.value, verdict.rows_needed


SETS = {"acs": acs, "heart": heart, "resort": resort}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="acs,heart,resort")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: list[Case] = []
    print("| set | domain | served | rows | offline ± se | clear | replay | rows needed |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.sets.split(","):
        for domain in SETS[name](given.data, np.random.default_rng(given.seed)):
            for case in cases(domain, given.seed):
                found.append(case)
                needed = "" if case.needed is None else f"{case.needed:,}"
                print(
                    f"| {name} | {case.name} | {case.arm} | {case.rows:,} | "
                    f"{case.difference:+.4f} ± {case.se:.4f} | {case.clear} | {case.word} | "
                    f"{needed} |",
                    flush=True,
                )
    clear = [case for case in found if case.clear]
    agreed = sum(case.word == case.clear for case in clear)
    opposite = {"hurts": "helps", "helps": "hurts"}
    wrong = sum(case.word == opposite[case.clear] for case in clear)
    rest = [case for case in found if not case.clear]
    open_ = sum(case.word == "undetermined" for case in rest)
    print(
        f"\nclear {len(clear)}: agreed {agreed}, wrong sign {wrong}, "
        f"open {len(clear) - agreed - wrong}; not clear {len(rest)}: undetermined {open_}, "
        f"neutral {sum(case.word == 'neutral' for case in rest)}, "
        f"a word {sum(case.word in opposite for case in rest)}"
    )


if __name__ == "__main__":
    main()
