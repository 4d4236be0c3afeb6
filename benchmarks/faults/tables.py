"""Two real tables with a source and a domain, as columns; see each set's own README for terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
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
STATES = ("NJ", "GA", "PA", "WA", "IL", "OH", "MI", "NC")
SOURCE_ROWS, TUNING_ROWS, REFERENCE_ROWS, POOL_ROWS = 15_000, 1_500, 6_000, 12_000


@dataclass(frozen=True)
class Rows:
    """Feature columns and labels (n,); `NULL` is a missing category, NaN a missing number."""

    numeric: dict[str, FloatArray]
    categorical: dict[str, Strings]
    label: FloatArray

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: IntArray | BoolArray | slice) -> Rows:
        return Rows(
            {name: column[rows] for name, column in self.numeric.items()},
            {name: column[rows] for name, column in self.categorical.items()},
            self.label[rows],
        )

    def with_numeric(self, name: str, values: FloatArray) -> Rows:
        return replace(self, numeric={**self.numeric, name: values})

    def with_category(self, name: str, values: Strings) -> Rows:
        return replace(self, categorical={**self.categorical, name: values})

    def schema(self) -> Schema:
        numeric = (ColumnSpec(name, Kind.NUMERIC) for name in self.numeric)
        categorical = (ColumnSpec(name, Kind.CATEGORICAL) for name in self.categorical)
        return Schema(Task.BINARY, (*numeric, *categorical))

    def window(self, logit: FloatArray) -> Window:
        return Window(
            rows=len(self),
            score=1 / (1 + np.exp(-logit)),
            label=self.label,
            numeric=self.numeric,
            categorical={name: codes(column) for name, column in self.categorical.items()},
        )


@dataclass(frozen=True)
class Split:
    """Rows to pre-train on, to fine-tune on, the reference, and fresh rows of the domain."""

    source: Rows
    tuning: Rows
    reference: Rows
    pool: Rows


def codes(column: Strings) -> Categories:
    values, found = np.unique(column, return_inverse=True)
    nulls = np.flatnonzero(values == NULL)
    named = tuple(str(value) for value in values if value != NULL)
    if not nulls.size:
        return Categories(found.astype(np.int32), named)
    at = int(nulls[0])
    shifted = np.where(found == at, -1, found - (found > at))
    return Categories(shifted.astype(np.int32), named)


def load(name: str, data: Path, seed: int) -> Split:
    """Rows of one table, shuffled by `seed`; the seed also chooses the state of `acs`."""
    rows, domain = {"acs": _acs, "resort": _resort}[name](data, seed)
    rng = np.random.default_rng(seed)
    source = rows.take(rng.permutation(np.flatnonzero(~domain))[:SOURCE_ROWS])
    served = rows.take(rng.permutation(np.flatnonzero(domain)))
    ends = np.cumsum([TUNING_ROWS, REFERENCE_ROWS, POOL_ROWS])
    return Split(
        source,
        served.take(slice(0, ends[0])),
        served.take(slice(ends[0], ends[1])),
        served.take(slice(ends[1], ends[2])),
    )


def _acs(data: Path, seed: int) -> tuple[Rows, BoolArray]:
    """Income above 50,000 dollars: New York is the source, another state the domain."""
    table = pq.read_table(data / "acs_income_us_states" / "data.parquet")
    state = STATES[seed % len(STATES)]
    table = table.filter(pc.is_in(table["state"], value_set=pc.cast(["NY", state], "string")))
    get = {name: np.asarray(table[name]) for name in table.column_names}
    abroad = get["POBP"] >= 60
    rows = Rows(
        {name: get[name].astype(np.float64) for name in ("AGEP", "SCHL", "WKHP")},
        {
            **{name: _strings(get[name]) for name in ("COW", "RELP")},
            "OCC": _strings(get["OCCP"] // 500),
            "POB": np.where(abroad, _strings(get["POBP"] // 100), "US"),
            **{name: _strings(get[name]) for name in ("MAR", "SEX")},
        },
        get["label"].astype(np.float64),
    )
    return rows, get["state"] == state


def _resort(data: Path, seed: int) -> tuple[Rows, BoolArray]:
    """Cancelled bookings: guests from Portugal are the source, all others the domain."""
    table = pq.read_table(data / "hotel_bookings_resort" / "data.parquet")
    table = table.filter(pc.is_valid(table["country"]))
    get = {name: np.asarray(table[name]) for name in table.column_names}
    numeric = (
        "lead_time",
        "stays_in_week_nights",
        "adults",
        "adr",
        "total_of_special_requests",
        "previous_cancellations",
    )
    named = ("meal", "market_segment", "reserved_room_type", "deposit_type", "customer_type")
    months = get["arrival_date"].astype("datetime64[M]").astype(np.int64) % 12 + 1
    rows = Rows(
        {name: get[name].astype(np.float64) for name in numeric},
        {**{name: _strings(get[name]) for name in named}, "mon": _strings(months)},
        get["label"].astype(np.float64),
    )
    return rows, get["country"] != "PRT"


def _strings(column: NDArray[np.generic]) -> Strings:
    missing = np.array([value is None or value != value for value in column.tolist()])
    return np.where(missing, NULL, column.astype(str))
