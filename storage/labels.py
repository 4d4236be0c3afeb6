"""Labels, joined to events by id whenever they come: before, after, or twice.

A label is filed under the day of its event. One whose event has not come yet waits without a
day; reading joins both, so it counts from the moment the event is there. The first label of an
event is evidence for good. A later, different one is kept as a correction, which reports read.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from detectors.records import BoolArray, FloatArray, IntArray
from storage.day_index import Day, by_day
from storage.identity import NO_DAY, Identity
from storage.runs import (
    LABEL_COLUMNS,
    Column,
    IdArray,
    decode_run,
    encode_run,
    locate,
    merge_runs,
    sort_run,
)
from storage.tables import LabelRunRow

_DAYS_HELD = 4


@dataclass(frozen=True, slots=True, eq=False)
class LabelReceipt:
    """What became of a batch of labels. Masks are (n,).

    `waiting`: no such event yet; `duplicate`: the event has this very label; `correction`: it
    has another one. Waiting and correcting labels are stored, duplicates are not.
    """

    duplicate: BoolArray
    correction: BoolArray
    waiting: BoolArray


def append_labels(
    session: Session,
    identity: Identity,
    id_hi: IdArray,
    id_lo: IdArray,
    label: FloatArray,
    label_ts_us: IntArray,
    received_at: datetime,
) -> LabelReceipt:
    """Store a batch of labels (n,). Sending it again stores nothing and says so.

    `label_ts_us` is when each became known. UnknownModelError if the model is not registered.
    Memory learns of the rows when the transaction commits.
    """
    identity.begin(session)
    days = identity.event_days(session, id_hi, id_lo)
    duplicate = np.zeros(len(label), np.bool_)
    correction = np.zeros(len(label), np.bool_)
    for day, rows in by_day(days):
        filed: Day = None if day == NO_DAY else day
        columns = (id_hi[rows], id_lo[rows], label[rows], label_ts_us[rows])
        first, known = _first_labels(session, identity, filed, columns)
        same = known & (first == columns[2])
        duplicate[rows] = same
        correction[rows] = known & ~same
        if same.all():
            continue
        fresh = sort_run([column[~same] for column in columns])
        row = LabelRunRow(
            model=identity.model,
            day=filed,
            received_at=received_at if filed is None else None,
            rows=len(fresh[0]),
            body=encode_run(fresh, LABEL_COLUMNS),
        )
        session.add(row)
        session.flush()
        identity.labels.add(session, filed, row.seq, fresh)
    return LabelReceipt(duplicate, correction, waiting=(days == NO_DAY) & ~duplicate)


def settle_waiting(session: Session, identity: Identity) -> int:
    """File waiting labels under the day of events that have come since; how many there were.

    Changes nothing that is read, only how fast. Call it now and then.
    """
    identity.begin(session)
    query = select(LabelRunRow).where(
        LabelRunRow.model == identity.model, LabelRunRow.day.is_(None)
    )
    settled: dict[int, list[tuple[Column, ...]]] = {}
    for row in session.scalars(query.order_by(LabelRunRow.seq)).all():
        columns = decode_run(row.body, row.rows, LABEL_COLUMNS)
        days = identity.event_days(session, columns[0], columns[1])
        for day, rows in by_day(days):
            part = tuple(column[rows] for column in columns)
            if day != NO_DAY:
                settled.setdefault(day, []).append(part)
            elif len(part[0]) < row.rows:
                row.rows, row.body = len(part[0]), encode_run(part, LABEL_COLUMNS)
        if (days != NO_DAY).all():
            session.delete(row)
    session.flush()
    for day, parts in settled.items():
        _file_first(session, identity.model, day, merge_runs(parts))
    identity.labels.forget_on_commit(session)
    return sum(len(part[0]) for parts in settled.values() for part in parts)


def _file_first(session: Session, model: str, day: int, columns: tuple[Column, ...]) -> None:
    """Put labels in front of those of their day: an event's waiting label came before others."""
    query = select(LabelRunRow).where(LabelRunRow.model == model, LabelRunRow.day == day)
    oldest = session.scalar(query.order_by(LabelRunRow.seq).limit(1))
    if oldest is not None:
        columns = merge_runs([columns, decode_run(oldest.body, oldest.rows, LABEL_COLUMNS)])
        oldest.rows, oldest.body = len(columns[0]), encode_run(columns, LABEL_COLUMNS)
    else:
        session.add(
            LabelRunRow(
                model=model,
                day=day,
                rows=len(columns[0]),
                body=encode_run(columns, LABEL_COLUMNS),
            )
        )
    session.flush()


class LabelJoin:
    """Labels by event day, for joining to rows being read. Holds a few days at a time.

    `known_by_us` leaves out labels that became known later. `corrected` takes the last label
    of an event instead of the first.
    """

    def __init__(
        self,
        session: Session,
        model: str,
        *,
        known_by_us: int | None = None,
        corrected: bool = False,
    ) -> None:
        self._session = session
        self._model = model
        self._known_by_us = known_by_us
        self.corrected = corrected
        self._days: OrderedDict[int, tuple[Column, ...]] = OrderedDict()
        self._waiting = self._read(None)

    def find(
        self, id_hi: IdArray, id_lo: IdArray, days: IntArray
    ) -> tuple[BoolArray, FloatArray, IntArray]:
        """Where rows of these event days have a label (n,), the label, and when it came (µs)."""
        found = np.zeros(len(id_hi), np.bool_)
        label = np.full(len(id_hi), np.nan)
        label_ts_us = np.zeros(len(id_hi), np.int64)
        for day, rows in by_day(days):
            run = self._day(day)
            at = locate(run[0], run[1], id_hi[rows], id_lo[rows])
            hit = at >= 0
            found[rows] = hit
            label[rows] = np.where(hit, run[2][at], np.nan) if len(run[2]) else np.nan
            label_ts_us[rows] = np.where(hit, run[3][at], 0) if len(run[3]) else 0
        return found, label, label_ts_us

    def knows(self, label_ts_us: IntArray) -> BoolArray:
        """(n,) True where a label that came at this time may be seen."""
        if self._known_by_us is None:
            return np.ones(len(label_ts_us), np.bool_)
        return label_ts_us <= self._known_by_us

    def _day(self, day: int) -> tuple[Column, ...]:
        if day not in self._days:
            self._days[day] = self._choose([*self._read(day), *self._waiting])
            if len(self._days) > _DAYS_HELD:
                self._days.popitem(last=False)
        self._days.move_to_end(day)
        return self._days[day]

    def _read(self, day: Day) -> list[tuple[int, tuple[Column, ...]]]:
        chosen = LabelRunRow.day.is_(None) if day is None else LabelRunRow.day == day
        query = select(LabelRunRow.seq, LabelRunRow.rows, LabelRunRow.body).where(
            LabelRunRow.model == self._model, chosen
        )
        return [
            (seq, decode_run(body, rows, LABEL_COLUMNS))
            for seq, rows, body in self._session.execute(query)
        ]

    def _choose(self, runs: list[tuple[int, tuple[Column, ...]]]) -> tuple[Column, ...]:
        """One label an id out of runs in order of arrival, sorted by id."""
        if not runs:
            return tuple(np.empty(0, dtype) for dtype in LABEL_COLUMNS)
        columns = [
            _masked(run, self.knows(run[3])) for _, run in sorted(runs, key=lambda item: item[0])
        ]
        merged = sort_run(merge_runs(columns))
        hi, lo = merged[0], merged[1]
        another = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
        edge = np.ones(min(len(hi), 1), np.bool_)
        keep = np.concatenate((another, edge) if self.corrected else (edge, another))
        return _masked(merged, keep)


def _first_labels(
    session: Session, identity: Identity, day: Day, columns: tuple[Column, ...]
) -> tuple[FloatArray, BoolArray]:
    """The first label each id has got so far, earlier rows of this batch among them."""
    hi, lo, label, _ = columns
    order = np.lexsort((lo, hi))
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (hi[order][1:] != hi[order][:-1]) | (lo[order][1:] != lo[order][:-1])
    first_at = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    first = np.empty(len(label))
    first[order] = label[first_at]
    known = np.ones(len(label), np.bool_)
    known[order[starts]] = False
    # A label that came before its event waits without a day, and came first.
    for filed in dict.fromkeys((day, None)):
        there, values = identity.known_labels(session, hi, lo, filed)
        first[there] = values[there]
        known |= there
    return first, known


def _masked(columns: tuple[Column, ...], rows: BoolArray) -> tuple[Column, ...]:
    return tuple(column[rows] for column in columns)
