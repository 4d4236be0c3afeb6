"""Which events and labels of a model are already stored: how a repeat is recognised.

The key of an event is a 128-bit hash of (model, id). SQL keeps sorted runs of them by event day;
this keeps the days in use in memory: 16 bytes an event, 24 a label. After a restart it fills
itself from SQL again. An id that returns with a time more than a day off is a new event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from detectors.records import DAY_US, BoolArray, FloatArray, IntArray
from storage.day_index import Day, DayIndex, Run, by_day
from storage.deployments import lock_model
from storage.engine import Database
from storage.runs import (
    ID_COLUMNS,
    LABEL_COLUMNS,
    Column,
    IdArray,
    decode_run,
    encode_run,
    merge_runs,
    repeats,
)
from storage.tables import IdRunRow, LabelRunRow

NO_DAY = np.iinfo(np.int64).min
"""The event day of an id that is not stored."""


class Identity:
    """The ids of one model. One per process and model; safe to use from several threads."""

    def __init__(self, database: Database, model: str, *, max_ids: int = 32_000_000) -> None:
        self.database = database
        self.model = model
        self.ids = self._index(IdRunRow, ID_COLUMNS, max_ids)
        self.labels = self._index(LabelRunRow, LABEL_COLUMNS, max_ids // 2)
        self._delays: Counter[Day] = Counter()

    def begin(self, session: Session) -> None:
        """Become the only writer of this model until the transaction ends, and catch up.

        UnknownModelError if the model is not registered.
        """
        lock_model(session, self.model)
        if self.database.is_sqlite:
            return  # one process writes, and it is this one
        with self.database.read() as reading:
            for index, table, dtypes in (
                (self.ids, IdRunRow, ID_COLUMNS),
                (self.labels, LabelRunRow, LABEL_COLUMNS),
            ):
                newer = _runs(reading, table, dtypes, self.model, table.seq > index.last_seq)
                index.catch_up(newer)

    def known(self, session: Session, id_hi: IdArray, id_lo: IdArray, ts_us: IntArray) -> BoolArray:
        """(n,) True where the event is stored already, or stands earlier in this batch.

        Ask inside the transaction that will store the rows: another may still be undone.
        """
        known = repeats(id_hi, id_lo)
        existing = self.ids.days(session)
        for day, rows in by_day(ts_us // DAY_US):
            # A repeat sent with the time of sending may fall on the other side of midnight.
            for near in (day, day - 1, day + 1):
                if near in existing:
                    for runs in self.ids.runs(session, near):
                        known[rows] |= runs.contains(id_hi[rows], id_lo[rows])
        return known

    def event_days(self, session: Session, id_hi: IdArray, id_lo: IdArray) -> IntArray:
        """(n,) the day (since 1970 UTC) of the stored event with this id, else NO_DAY.

        Days that lately had hits are tried first: labels mostly come with the same delay.
        """
        days = np.full(len(id_hi), NO_DAY, np.int64)
        missing = np.arange(len(id_hi))
        existing = [day for day in self.ids.days(session) if day is not None]
        for day in sorted(existing, key=lambda day: (-self._delays[day], -day)):
            if not len(missing):
                break
            for runs in self.ids.runs(session, day):
                hit = runs.contains(id_hi[missing], id_lo[missing])
                days[missing[hit]] = day
                missing = missing[~hit]
        self._delays = Counter(day for day in days.tolist() if day != NO_DAY)
        return days

    def known_labels(
        self, session: Session, id_hi: IdArray, id_lo: IdArray, day: Day
    ) -> tuple[BoolArray, FloatArray]:
        """Where an id of an event day has a label (n,), and the first one it got (n,)."""
        known = np.zeros(len(id_hi), np.bool_)
        labels = np.full(len(id_hi), np.nan)
        for runs in self.labels.runs(session, day):
            found, values = runs.look_up(id_hi, id_lo, column=2)
            fresh = found & ~known
            labels[fresh] = values[fresh]
            known |= found
        return known, labels

    def store_ids(self, session: Session, day: int, columns: tuple[Column, ...]) -> None:
        """Write a sorted run (hi, lo) of an event day."""
        row = IdRunRow(
            model=self.model,
            day=day,
            rows=len(columns[0]),
            body=encode_run(columns, ID_COLUMNS),
        )
        session.add(row)
        session.flush()
        self.ids.add(session, day, row.seq, columns)

    def compact(self, day: int) -> None:
        """Merge the runs of a closed day into one, in one transaction. Repeatable at will."""
        for table, dtypes in ((IdRunRow, ID_COLUMNS), (LabelRunRow, LABEL_COLUMNS)):
            with self.database.write() as session:
                lock_model(session, self.model)
                found = [
                    run for _, run in _runs(session, table, dtypes, self.model, table.day == day)
                ]
                if len(found) < 2:
                    continue
                merged = merge_runs([columns for _, columns in found])
                # The oldest keeps its place, so that the order of arrival stays what it was.
                kept = found[0][0]
                session.execute(
                    update(table)
                    .where(table.seq == kept)
                    .values(rows=len(merged[0]), body=encode_run(merged, dtypes))
                )
                session.execute(delete(table).where(table.seq.in_([seq for seq, _ in found[1:]])))

    def forget(self) -> None:
        """Empty the memory; SQL fills it again. For example after rows were pruned."""
        self.ids.forget()
        self.labels.forget()

    def _index(
        self, table: type[IdRunRow | LabelRunRow], dtypes: Sequence[str], max_ids: int
    ) -> DayIndex:
        def load_days() -> set[Day]:
            with self.database.read() as session:
                query = select(table.day).where(table.model == self.model).distinct()
                return set(session.scalars(query))

        def load(day: Day) -> list[Run]:
            with self.database.read() as session:
                chosen = table.day.is_(None) if day is None else table.day == day
                return [run for _, run in _runs(session, table, dtypes, self.model, chosen)]

        return DayIndex(load_days, load, max_ids=max_ids)


def _runs(
    session: Session,
    table: type[IdRunRow | LabelRunRow],
    dtypes: Sequence[str],
    model: str,
    chosen: Any,
) -> list[tuple[Day, Run]]:
    query = (
        select(table.day, table.seq, table.rows, table.body)
        .where(table.model == model, chosen)
        .order_by(table.seq)
    )
    return [
        (day, (seq, decode_run(body, rows, dtypes)))
        for day, seq, rows, body in session.execute(query)
    ]
