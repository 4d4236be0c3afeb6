"""Accepted events: one columnar segment a batch, read back by domain and event time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from detectors.records import (
    DAY_US,
    BoolArray,
    Categories,
    Deployment,
    Window,
    concat_windows,
)
from storage.day_index import by_day
from storage.deployments import Arrival, note_arrivals
from storage.identity import Identity
from storage.labels import LabelJoin
from storage.runs import IdArray, sort_run
from storage.segments import Segment, Span, encode, gather, open_body, wanted
from storage.tables import SegmentRow

DEFAULT_DOMAIN = "default"
"""The domain of rows that name none."""

_BODIES_AT_ONCE = 16
_PIECE_ROWS = 32_768


@dataclass(frozen=True, slots=True, eq=False)
class EventReceipt:
    """What became of a batch of events. `duplicate` (n,): stored before, or earlier in the batch.

    `seq` is the new segment's, None where every row was a duplicate.
    """

    seq: int | None
    rows: int
    duplicate: BoolArray


def append_events(
    session: Session,
    identity: Identity,
    window: Window,
    id_hi: IdArray,
    id_lo: IdArray,
    *,
    received_at: datetime,
    late: BoolArray | None = None,
) -> EventReceipt:
    """Store the rows that are not stored yet, and count them. Sending them again stores nothing.

    `window.ts_us` is required; rows without a domain belong to "default". `late` (n,) marks
    rows older than the lateness window: kept for reports, never read as evidence.
    UnknownModelError if the model is not registered. Memory learns of the rows when the
    transaction commits, and forgets them when it does not.
    """
    if window.ts_us is None:
        msg = "events without ts_us; every event needs its time"
        raise ValueError(msg)
    identity.begin(session)
    late = np.zeros(window.rows, np.bool_) if late is None else late
    duplicate = identity.known(session, id_hi, id_lo, window.ts_us)
    segment = Segment(replace(window, domain=_domains(window)), id_hi, id_lo, late)
    if duplicate.any():
        segment = segment.take(~duplicate)
    if not segment.window.rows:
        return EventReceipt(None, 0, duplicate)
    arrivals = _arrivals(segment)
    row = _row(identity.model, segment, arrivals, received_at)
    session.add(row)
    session.flush()
    ts_us = segment.window.ts_us
    assert ts_us is not None
    for day, rows in by_day(ts_us // DAY_US):
        identity.store_ids(session, day, sort_run((segment.id_hi[rows], segment.id_lo[rows])))
    note_arrivals(session, identity.model, arrivals, received_at)
    return EventReceipt(row.seq, segment.window.rows, duplicate)


def read_rows(
    session: Session,
    deployment: Deployment,
    since_us: int,
    until_us: int,
    *,
    include_late: bool = False,
    labels_known_by_us: int | None = None,
    corrected: bool = False,
) -> Iterator[Window]:
    """Rows of a domain with `since_us <= ts < until_us` in pieces of some 32,768, labels joined.

    They come in order of arrival. Only segments that overlap are read. Without `include_late`
    these are the rows evidence may see. `label` is NaN where none has come by
    `labels_known_by_us`; `label_ts_us` means nothing there. `corrected` takes an event's last
    label where it has several, as reports do.
    """
    join = LabelJoin(session, deployment.model, known_by_us=labels_known_by_us, corrected=corrected)
    span = Span(since_us, until_us, include_late, deployment.domain)
    piece: list[pa.RecordBatch] = []
    for batch in _opened(session, deployment.model, span):
        piece.append(batch)
        if sum(part.num_rows for part in piece) >= _PIECE_ROWS:
            yield from (_labelled(segment, join) for segment in gather(piece))
            piece = []
    yield from (_labelled(segment, join) for segment in gather(piece))


def read_window(
    session: Session,
    deployment: Deployment,
    since_us: int,
    until_us: int,
    *,
    include_late: bool = False,
    labels_known_by_us: int | None = None,
    corrected: bool = False,
) -> Window:
    """The rows of `read_rows` as one window in the order of (ts, id), however they arrived.

    Sums over it are the same to the last bit whether or not a sender repeated and shuffled.
    """
    span = Span(since_us, until_us, include_late, deployment.domain)
    join = LabelJoin(session, deployment.model, known_by_us=labels_known_by_us, corrected=corrected)
    windows = _in_event_order(list(gather(list(_opened(session, deployment.model, span)))), join)
    return windows.get(deployment.domain, Window(rows=0))


def read_model(
    session: Session,
    model: str,
    since_us: int,
    until_us: int,
    *,
    include_late: bool = False,
    labels_known_by_us: int | None = None,
    corrected: bool = False,
) -> dict[str, Window]:
    """The `read_window` of every domain that has rows, reading each segment once."""
    span = Span(since_us, until_us, include_late)
    join = LabelJoin(session, model, known_by_us=labels_known_by_us, corrected=corrected)
    return _in_event_order(list(gather(list(_opened(session, model, span)))), join)


def count_rows(session: Session, model: str, since_us: int, until_us: int) -> int:
    """Rows of the segments that hold any row of a span, so at least those of the span."""
    held = select(func.sum(SegmentRow.rows)).where(
        SegmentRow.model == model, SegmentRow.until_us >= since_us, SegmentRow.since_us < until_us
    )
    return int(session.scalar(held) or 0)


def _opened(session: Session, model: str, span: Span) -> Iterator[pa.RecordBatch]:
    """The rows of a span, segment by segment in order of arrival; none of them empty."""
    first_us = SegmentRow.since_us if span.include_late else SegmentRow.on_time_since_us
    query = (
        select(SegmentRow.seq, SegmentRow.domains)
        .where(
            SegmentRow.model == model,
            SegmentRow.until_us >= span.since_us,
            first_us < span.until_us,
        )
        .order_by(SegmentRow.seq)
    )
    seqs = [
        seq
        for seq, domains in session.execute(query)
        if span.domain is None or span.domain in domains
    ]
    for start in range(0, len(seqs), _BODIES_AT_ONCE):
        chosen = SegmentRow.seq.in_(seqs[start : start + _BODIES_AT_ONCE])
        bodies = select(SegmentRow.body).where(chosen).order_by(SegmentRow.seq)
        for body in session.scalars(bodies).all():
            rows = wanted(open_body(body), span)
            if rows.num_rows:
                yield rows


def _labelled(segment: Segment, join: LabelJoin) -> Window:
    """Rows with their labels. One sent along with the event is its first."""
    window = segment.window
    assert window.ts_us is not None
    found, label, label_ts_us = join.find(segment.id_hi, segment.id_lo, window.ts_us // DAY_US)
    own_label = np.full(window.rows, np.nan) if window.label is None else window.label
    own_ts_us = window.ts_us if window.label_ts_us is None else window.label_ts_us
    own_label = np.where(join.knows(own_ts_us), own_label, np.nan)
    take = found if join.corrected else found & np.isnan(own_label)
    return replace(
        window,
        label=np.where(take, label, own_label),
        label_ts_us=np.where(take, label_ts_us, own_ts_us),
    )


def _in_event_order(segments: list[Segment], join: LabelJoin) -> dict[str, Window]:
    """Rows by domain, each in the order of (ts, id), categories in the order of their text."""
    if not segments:
        return {}
    window = concat_windows(_labelled(segment, join) for segment in segments)
    hi = np.concatenate([segment.id_hi for segment in segments])
    lo = np.concatenate([segment.id_lo for segment in segments])
    assert window.domain is not None
    assert window.ts_us is not None
    order = np.lexsort((lo, hi, window.ts_us, window.domain.codes))
    window = window.take(order)
    assert window.domain is not None
    codes, starts = np.unique(window.domain.codes, return_index=True)
    ends = [*starts[1:].tolist(), window.rows]
    windows = {
        window.domain.values[code]: _plain_categories(window.take(slice(start, end)))
        for code, start, end in zip(codes.tolist(), starts.tolist(), ends, strict=True)
    }
    return dict(sorted(windows.items()))


def _plain_categories(window: Window) -> Window:
    """The same rows with each vocabulary cut to what occurs, in the order of its text."""

    def plain(column: Categories | None) -> Categories | None:
        if column is None:
            return None
        present = np.unique(column.codes[column.codes >= 0]).tolist()
        ordered = sorted(present, key=lambda code: column.values[code])
        mapping = np.full(len(column.values) + 1, -1, np.int32)  # the last place takes code -1
        mapping[ordered] = np.arange(len(ordered), dtype=np.int32)
        return Categories(mapping[column.codes], tuple(column.values[code] for code in ordered))

    categorical = {name: plain(column) for name, column in window.categorical.items()}
    return replace(
        window,
        prediction=plain(window.prediction),
        truth=plain(window.truth),
        domain=plain(window.domain),
        version=plain(window.version),
        arm=plain(window.arm),
        cluster=plain(window.cluster),
        categorical={name: column for name, column in categorical.items() if column is not None},
    )


def _domains(window: Window) -> Categories:
    """The domain column with "default" where a row names none."""
    if window.domain is None:
        return Categories(np.zeros(window.rows, np.int32), (DEFAULT_DOMAIN,))
    column = window.domain
    unnamed = column.codes < 0
    if not unnamed.any():
        return column
    values = column.values if DEFAULT_DOMAIN in column.values else (*column.values, DEFAULT_DOMAIN)
    filled = np.where(unnamed, values.index(DEFAULT_DOMAIN), column.codes)
    return Categories(filled.astype(np.int32), values)


def _arrivals(segment: Segment) -> list[Arrival]:
    """Counts and event times by domain, without a loop over rows."""
    ts_us, domain = segment.window.ts_us, segment.window.domain
    assert ts_us is not None
    assert domain is not None
    order = np.argsort(domain.codes, kind="stable")
    codes, starts = np.unique(domain.codes[order], return_index=True)
    rows = np.diff(np.append(starts, len(order)))
    late = np.add.reduceat(segment.late[order].astype(np.int64), starts)
    first_us = np.minimum.reduceat(ts_us[order], starts)
    last_us = np.maximum.reduceat(ts_us[order], starts)
    columns = (codes, rows, late, first_us, last_us)
    return [
        Arrival(domain.values[code], *counts)
        for code, *counts in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _row(
    model: str, segment: Segment, arrivals: list[Arrival], received_at: datetime
) -> SegmentRow:
    ts_us = segment.window.ts_us
    assert ts_us is not None
    on_time = ts_us[~segment.late]
    return SegmentRow(
        model=model,
        received_at=received_at,
        since_us=int(ts_us.min()),
        until_us=int(ts_us.max()),
        on_time_since_us=int(on_time.min()) if len(on_time) else None,
        rows=segment.window.rows,
        late_rows=int(segment.late.sum()),
        domains=sorted(arrival.domain for arrival in arrivals),
        body=encode(segment),
    )
