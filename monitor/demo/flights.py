"""Departures from New York in 2013, the demo's data: one carrier is a domain.

The rows lie in `data/flights.parquet` (see its README for where they come from). A flight is
late if it arrives more than 15 minutes after schedule; its delay is the outcome and never a
feature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import as_file, files

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from detectors.records import FloatArray, IntArray, to_us

SOURCE = "UA"
DOMAINS = ("DL", "US", "MQ", "9E", "WN")
NUMERIC = (
    "hour",
    "distance",
    "plane_year",
    "seats",
    "wind_speed",
    "precip",
    "visib",
)
CATEGORICAL = ("origin", "dest", "engine")
FEATURES = (*NUMERIC, *CATEGORICAL)
LATE_MINUTES = 15


@dataclass(frozen=True, slots=True, eq=False)
class Flights:
    """Flights of one carrier by scheduled departure.

    `ids` (n,) are unique over carriers, `ts_us` (n,) ascend, `features` has n rows and the
    columns of FEATURES, `delay_minutes` (n,) is the arrival delay, negative if early.
    """

    carrier: str
    ids: pa.Array
    ts_us: IntArray
    features: pa.Table
    delay_minutes: FloatArray

    def __len__(self) -> int:
        return len(self.ts_us)

    def between(self, since: datetime, until: datetime) -> Flights:
        """Flights with since <= scheduled departure < until."""
        first, last = np.searchsorted(self.ts_us, [to_us(since), to_us(until)])
        return self.rows(int(first), int(last))

    def rows(self, first: int, last: int) -> Flights:
        """Flights first … last - 1."""
        return replace(
            self,
            ids=self.ids.slice(first, last - first),
            ts_us=self.ts_us[first:last],
            features=self.features.slice(first, last - first),
            delay_minutes=self.delay_minutes[first:last],
        )

    def late(self, minutes: int = LATE_MINUTES) -> FloatArray:
        """(n,) 1.0 where the flight came more than `minutes` late, else 0.0."""
        return (self.delay_minutes > minutes).astype(float)


def load_flights() -> dict[str, Flights]:
    """Every carrier's flights of 2013: the source first, then the domains."""
    with as_file(files("monitor.demo") / "data" / "flights.parquet") as path:
        table = pq.read_table(path, read_dictionary=["carrier", *CATEGORICAL])
    carrier_of = table.column("carrier").cast(pa.string())
    loaded = {}
    for carrier in (SOURCE, *DOMAINS):
        own = table.filter(pc.equal(carrier_of, carrier)).combine_chunks()
        stamps = own.column("sched_ts").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        loaded[carrier] = Flights(
            carrier=carrier,
            ids=pa.array([f"{carrier}-{number}" for number in range(own.num_rows)]),
            ts_us=stamps.to_numpy().astype(np.int64),
            features=own.select(list(FEATURES)),
            delay_minutes=own.column("arr_delay").to_numpy().astype(float),
        )
    return loaded


def instant(month: int, day: int = 1) -> datetime:
    """Midnight UTC of a day of 2013; month 13 is January of the next year."""
    return datetime(2013 + (month - 1) // 12, (month - 1) % 12 + 1, day, tzinfo=UTC)
