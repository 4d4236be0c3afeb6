"""What a serving process would send: events as they are scored, labels two days later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from detectors.records import DAY_US, FloatArray, IntArray, Task, to_us
from monitor.demo.faults import Fault
from monitor.demo.flights import CATEGORICAL, NUMERIC, Flights
from monitor.demo.networks import Network
from monitor.files.roles import Roles

LABEL_DELAY = timedelta(days=2)
_UTC = pa.timestamp("us", tz="UTC")
ROLES = Roles(
    id="id",
    timestamp="ts",
    domain="domain",
    version="version",
    score="score",
    baseline_score="baseline_score",
    label="label",
    label_timestamp="label_ts",
    numeric=NUMERIC,
    categorical=CATEGORICAL,
    slices=(("origin",),),
    task=Task.BINARY,
)


@dataclass(frozen=True, slots=True)
class Served:
    """What serves a domain: the transferred network, and the baseline beside it."""

    transferred: Network
    baseline: Network | None
    version: str = "1"


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """One day's traffic of all domains in event time, labels that become known on it included."""

    since: datetime
    events: pa.Table
    labels: pa.Table


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Everything one domain will send: event rows by time, labels of the same rows by id."""

    domain: str
    ts_us: IntArray
    events: pa.Table
    labels: pa.Table

    def __len__(self) -> int:
        return len(self.ts_us)


def stream_of(flights: Flights, served: Served, faults: Sequence[Fault] = ()) -> Stream:
    """Score flights and let the faults of this domain happen to them.

    A fault in the features comes before the networks, as it would in production: the scores
    sent are scores of spoilt rows.
    """
    features, late = flights.features, flights.late()
    for fault in faults:
        if fault.domain != flights.carrier:
            continue
        if fault.spoil_features is not None:
            features = fault.spoil_features(features, flights.ts_us, fault.since)
        if fault.spoil_labels is not None:
            late = fault.spoil_labels(flights, fault.since)
    columns = {
        "id": flights.ids,
        "ts": pa.array(flights.ts_us).cast(_UTC),
        "domain": pa.repeat(pa.scalar(flights.carrier), len(flights)).dictionary_encode(),
        "version": pa.repeat(pa.scalar(served.version), len(flights)).dictionary_encode(),
        "score": pa.array(served.transferred.score(features)),
    }
    baseline = None if served.baseline is None else served.baseline.score(features)
    columns["baseline_score"] = (
        pa.nulls(len(flights), pa.float64()) if baseline is None else pa.array(baseline)
    )
    events = pa.table(columns)
    logged = features
    for fault in faults:
        if fault.domain == flights.carrier and fault.spoil_log is not None:
            logged = fault.spoil_log(logged, flights.ts_us, fault.since)
    for name in logged.column_names:
        events = events.append_column(name, logged.column(name))
    return Stream(
        domain=flights.carrier,
        ts_us=flights.ts_us,
        events=events,
        labels=_labels(flights.ids, flights.ts_us, late),
    )


def _labels(ids: pa.Array, ts_us: IntArray, late: FloatArray) -> pa.Table:
    known_us = ts_us + round(LABEL_DELAY / timedelta(microseconds=1))
    return pa.table({"id": ids, "label": late.astype(np.int8), "ts": pa.array(known_us).cast(_UTC)})


def then(before: Stream, after: Stream) -> Stream:
    """One stream of a domain whose later rows another version has scored."""
    return Stream(
        domain=before.domain,
        ts_us=np.concatenate([before.ts_us, after.ts_us]),
        events=pa.concat_tables([before.events, after.events]),
        labels=pa.concat_tables([before.labels, after.labels]),
    )


def reference_table(stream: Stream) -> pa.Table:
    """Events with their labels beside them, as `kedge reference add` takes them."""
    return stream.events.append_column("label", stream.labels.column("label")).append_column(
        "label_ts", stream.labels.column("ts")
    )


def days(
    streams: Sequence[Stream], since: datetime, until: datetime, *, closing: bool = True
) -> Iterator[Day]:
    """Traffic day by day, with the labels that become known on each; `until` is excluded.

    All domains share one watermark, so a day of all of them travels together: sent one domain
    after the other, the last would come late. Labels still under way at `until` come with a
    last day that has no events, if it is `closing`.
    """
    delay_us = round(LABEL_DELAY / timedelta(microseconds=1))
    first_us, until_us = to_us(since), to_us(until)
    for start_us in range(first_us, until_us + 1, DAY_US):
        last = start_us >= until_us
        if last and not closing:
            return
        end_us = until_us + delay_us if last else start_us + DAY_US
        yield Day(
            since=since + timedelta(microseconds=start_us - first_us),
            events=pa.concat_tables([_span(s, s.events, start_us, end_us) for s in streams]),
            labels=pa.concat_tables(
                [_span(s, s.labels, start_us - delay_us, end_us - delay_us) for s in streams]
            ),
        )


def _span(stream: Stream, rows: pa.Table, start_us: int, end_us: int) -> pa.Table:
    first, last = np.searchsorted(stream.ts_us, [start_us, end_us])
    return rows.slice(int(first), int(last - first))
