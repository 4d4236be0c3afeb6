"""Real tables with a source and domains, as columns; see each set's own README for terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from detectors.records import (
    BoolArray,
    Categories,
    ColumnSpec,
    FloatArray,
    IntArray,
    Kind,
    Schema,
    Task,
    Window,
)

Strings = NDArray[np.str_]
NULL = "<null>"
SOURCE_ROWS, TUNING_ROWS, REFERENCE_ROWS, POOL_ROWS = 15_000, 1_500, 6_000, 12_000


@dataclass(frozen=True)
class Rows:
    """Feature columns and labels (n,); `NULL` is a missing category, NaN a missing number."""

    numeric: dict[str, FloatArray]
    categorical: dict[str, Strings]
    label: FloatArray
    embedding: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: IntArray | BoolArray | slice) -> Rows:
        return Rows(
            {name: column[rows] for name, column in self.numeric.items()},
            {name: column[rows] for name, column in self.categorical.items()},
            self.label[rows],
            None if self.embedding is None else self.embedding[rows],
        )

    def with_numeric(self, name: str, values: FloatArray) -> Rows:
        return replace(self, numeric={**self.numeric, name: values})

    def with_category(self, name: str, values: Strings) -> Rows:
        return replace(self, categorical={**self.categorical, name: values})

    def schema(self, task: Task = Task.BINARY) -> Schema:
        numeric = (ColumnSpec(name, Kind.NUMERIC) for name in self.numeric)
        categorical = (ColumnSpec(name, Kind.CATEGORICAL) for name in self.categorical)
        return Schema(
            task,
            (*numeric, *categorical),
            embedding_dim=0 if self.embedding is None else self.embedding.shape[1],
        )

    def window(self, logit: FloatArray, task: Task = Task.BINARY) -> Window:
        """With scores from log odds, or a regression's values."""
        return Window(
            rows=len(self),
            score=logit if task is Task.REGRESSION else 1 / (1 + np.exp(-logit)),
            label=self.label,
            numeric=self.numeric,
            categorical={name: codes(column) for name, column in self.categorical.items()},
            embedding=self.embedding,
        )


@dataclass(frozen=True)
class Split:
    """Rows to pre-train on, to fine-tune on, the reference, and fresh rows of the domain."""

    source: Rows
    tuning: Rows
    reference: Rows
    pool: Rows
    task: Task = Task.BINARY


def codes(column: Strings) -> Categories:
    values, found = np.unique(column, return_inverse=True)
    nulls = np.flatnonzero(values == NULL)
    named = tuple(str(value) for value in values if value != NULL)
    if not nulls.size:
        return Categories(found.astype(np.int32), named)
    at = int(nulls[0])
    shifted = np.where(found == at, -1, found - (found > at))
    return Categories(shifted.astype(np.int32), named)


@dataclass(frozen=True)
class RealSet:
    """One public set: which domains there are, and how rows are read."""

    folder: str
    source: str
    domains: tuple[str, ...]
    domain_column: str
    read: Callable[[pa.Table], Rows]
    task: Task = Task.BINARY


def load(name: str, data: Path, seed: int) -> Split:
    """Rows of one set, shuffled by `seed`, which also chooses the domain.

    Where a domain is small, up to an eighth of its rows tunes the model, and half is the reference.
    """
    of = SETS[name]
    table = pq.read_table(data / of.folder / "data.parquet")
    domain = of.domains[seed % len(of.domains)]
    at = np.asarray(table[of.domain_column].to_numpy(zero_copy_only=False).astype(str))
    inside = at != of.source if domain == OTHERS else at == domain
    rng = np.random.default_rng(seed)
    home = rng.permutation(np.flatnonzero(at == of.source))[:SOURCE_ROWS]
    there = rng.permutation(np.flatnonzero(inside))
    tuning, reference = min(TUNING_ROWS, len(there) // 8), min(REFERENCE_ROWS, len(there) // 2)
    there = there[: tuning + reference + POOL_ROWS]
    source = of.read(table.take(pa.array(home)))
    served = of.read(table.take(pa.array(there)))
    return Split(
        source,
        served.take(slice(0, tuning)),
        served.take(slice(tuning, tuning + reference)),
        served.take(slice(tuning + reference, None)),
        of.task,
    )


def _acs(table: pa.Table) -> Rows:
    """Income above 50,000 dollars."""
    get = _arrays(table)
    birth = get["POBP"].astype(np.int64)
    return Rows(
        _numbers(get, "AGEP", "SCHL", "WKHP"),
        {
            **_words(get, "COW", "RELP"),
            "OCC": _strings(get["OCCP"].astype(np.int64) // 500),
            "POB": np.where(birth >= 60, _strings(birth // 100), "US"),
            **_words(get, "MAR", "SEX"),
        },
        get["label"].astype(np.float64),
    )


def _resort(table: pa.Table) -> Rows:
    """Cancelled bookings."""
    get = _arrays(table)
    months = get["arrival_date"].astype("datetime64[M]").astype(np.int64) % 12 + 1
    return Rows(
        _numbers(
            get,
            "lead_time",
            "stays_in_week_nights",
            "adults",
            "adr",
            "total_of_special_requests",
            "previous_cancellations",
        ),
        {
            **_words(
                get,
                "meal",
                "market_segment",
                "reserved_room_type",
                "deposit_type",
                "customer_type",
            ),
            "mon": _strings(months),
        },
        get["label"].astype(np.float64),
    )


def _flights(table: pa.Table) -> Rows:
    """Arrived more than 15 minutes late."""
    get = _arrays(table)
    return Rows(
        _numbers(
            get,
            "hour",
            "distance",
            "plane_year",
            "seats",
            "temp",
            "humid",
            "wind_speed",
            "pressure",
            "visib",
        ),
        {**_words(get, "origin", "dest", "engine"), "month": _strings(get["month"])},
        get["label"].astype(np.float64),
    )


def _cars(table: pa.Table) -> Rows:
    """Logarithm of the asking price."""
    get = _arrays(table)
    return Rows(
        _numbers(get, "year", "mileage", "tax", "mpg", "engineSize"),
        _words(get, "transmission", "fuelType"),
        np.log(get["price"].astype(np.float64)),
    )


def _beijing(table: pa.Table) -> Rows:
    """PM2.5 above 75 µg/m³."""
    table = table.filter(pc.is_valid(table["label"]))
    get = _arrays(table)
    return Rows(
        _numbers(get, "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "WSPM"),
        _words(get, "wd"),
        get["label"].astype(np.float64),
    )


def _amazon(table: pa.Table) -> Rows:
    """Positive reviews, as embeddings of 400 numbers and nothing else."""
    flat = pc.list_flatten(table["embedding"].combine_chunks()).to_numpy(zero_copy_only=False)
    embedding = flat.reshape(len(table), -1).astype(np.float32)
    return Rows({}, {}, np.asarray(table["label"]).astype(np.float64), embedding)


def _zozo(table: pa.Table) -> Rows:
    """Clicks on recommended fashion, one in two hundred."""
    get = _arrays(table)
    return Rows(
        _numbers(get, "affinity_max", "affinity_sum", "propensity_score"),
        {
            **_words(get, "item_id", "position"),
            **_words(get, *(f"user_feature_{at}" for at in range(4))),
        },
        get["click"].astype(np.float64),
    )


OTHERS = "all others"
SETS = {
    "acs": RealSet(
        "acs_income_us_states",
        "NY",
        ("NJ", "GA", "PA", "WA", "IL", "OH", "MI", "NC"),
        "state",
        _acs,
    ),
    "resort": RealSet("hotel_bookings_resort", "PRT", (OTHERS,), "country", _resort),
    "flights": RealSet(
        "nyc_flights_2013", "UA", ("B6", "DL", "AA", "MQ", "EV", "US"), "carrier", _flights
    ),
    "beijing": RealSet(
        "beijing_air_stations",
        "Dongsi",
        ("Dingling", "Huairou", "Shunyi", "Guanyuan"),
        "station",
        _beijing,
    ),
    "cars": RealSet(
        "uk_used_cars_brands",
        "ford",
        ("audi", "bmw", "vw", "vauxhall", "merc"),
        "brand",
        _cars,
        Task.REGRESSION,
    ),
    "amazon": RealSet(
        "amazon_reviews_4domains", "books", ("dvd", "elec", "kitchen"), "domain", _amazon
    ),
    "zozo": RealSet("zozo_open_bandit_ctr", "all", ("men", "women"), "campaign", _zozo),
}


def _arrays(table: pa.Table) -> dict[str, NDArray[np.generic]]:
    return {name: np.asarray(table[name]) for name in table.column_names}


def _numbers(get: dict[str, NDArray[np.generic]], *names: str) -> dict[str, FloatArray]:
    return {name: get[name].astype(np.float64) for name in names}


def _words(get: dict[str, NDArray[np.generic]], *names: str) -> dict[str, Strings]:
    return {name: _strings(get[name]) for name in names}


def _strings(column: NDArray[np.generic]) -> Strings:
    missing = np.array([value is None or value != value for value in column.tolist()])
    return np.where(missing, NULL, column.astype(str))
