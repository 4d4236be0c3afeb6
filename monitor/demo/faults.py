"""What is done to the data on purpose, from which day, and what Kedge should make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.records import FloatArray, IntArray, Mode, to_us
from monitor.demo.flights import Flights, instant

KM_PER_MILE = 1.609344


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in one domain, and the diagnosis and column that would be right for it.

    `words` tell people. `spoil_features` changes what the models see before they score it,
    `spoil_log` only what Kedge is told they saw, `spoil_labels` what comes back as truth.
    """

    domain: str
    since: datetime
    words: str
    expected: Mode
    column: str = ""
    spoil_features: Callable[[pa.Table, IntArray, datetime], pa.Table] | None = None
    spoil_log: Callable[[pa.Table, IntArray, datetime], pa.Table] | None = None
    spoil_labels: Callable[[Flights, datetime], FloatArray] | None = None

    @property
    def costs(self) -> bool:
        """Whether predictions get worse by it, so that somebody has to be paged."""
        return self.spoil_log is None


def without_hour(features: pa.Table, ts_us: IntArray, since: datetime) -> pa.Table:
    """`hour` is 0 in every row from an instant on: the join upstream lost it."""
    column = features.column("hour")
    return _from(features, "hour", pa.scalar(0, column.type), ts_us, since)


def _kilometres(features: pa.Table, ts_us: IntArray, since: datetime) -> pa.Table:
    """`distance` in whole kilometres from an instant on; it is in miles before."""
    column = features.column("distance")
    exact = pc.multiply(column.cast(pa.float64()), KM_PER_MILE)
    return _from(features, "distance", pc.round(exact).cast(column.type), ts_us, since)


def _from(
    features: pa.Table,
    name: str,
    values: pa.ChunkedArray | pa.Scalar,
    ts_us: IntArray,
    since: datetime,
) -> pa.Table:
    """A column with other values from an instant on."""
    place = features.schema.get_field_index(name)
    changed = pa.array(ts_us >= to_us(since))
    return features.set_column(place, name, pc.if_else(changed, values, features.column(name)))


def _on_time_instead(flights: Flights, since: datetime) -> FloatArray:
    """From an instant on the label says the opposite: 1 is a flight that came on time."""
    changed = flights.ts_us >= to_us(since)
    return np.where(changed, 1.0 - flights.late(), flights.late())


FAULTS = (
    Fault(
        domain="MQ",
        since=instant(10, 1),
        words="the label rule changes, 1 now means on time",
        expected=Mode.LABEL_SEMANTICS,
        spoil_labels=_on_time_instead,
    ),
    Fault(
        domain="WN",
        since=instant(10, 8),
        words="a new logger writes `distance` in kilometres, the model still reads miles",
        expected=Mode.SCHEMA_MISMATCH,
        column="distance",
        spoil_log=_kilometres,
    ),
    Fault(
        domain="US",
        since=instant(10, 15),
        words="upstream loses the feature `hour`, every row has 0",
        expected=Mode.FEATURE_ABSENT,
        column="hour",
        spoil_features=without_hour,
    ),
)
