"""Sorted ids held in memory by event day: loaded when asked for, let go when there are too many.

What SQL has committed is the truth, this is a cache of it. Rows of an open transaction are seen
by that transaction alone; they join the cache when it commits and vanish when it does not.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
from sqlalchemy import event
from sqlalchemy.orm import Session

from storage.runs import Column, SortedRuns

Day: TypeAlias = int | None
"""Days since 1970 UTC; None collects labels whose event has not come."""
Run: TypeAlias = tuple[int, tuple[Column, ...]]
"""A run with its sequence number in SQL."""


class DayIndex:
    """Runs of ids by day, at most about `max_ids` of them, the day used longest ago going first.

    `load_days` lists the days that SQL has; `load` reads the runs of one. Both must see only
    what is committed. Safe to use from several threads.
    """

    def __init__(
        self,
        load_days: Callable[[], set[Day]],
        load: Callable[[Day], list[Run]],
        *,
        max_ids: int,
    ) -> None:
        self._load_days = load_days
        self._load = load
        self._max_ids = max_ids
        self.last_seq = 0
        self._days: set[Day] | None = None
        self._held: OrderedDict[Day, tuple[SortedRuns, set[int]]] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def held_ids(self) -> int:
        """How many ids are in memory."""
        with self._lock:
            return sum(runs.rows for runs, _ in self._held.values())

    def days(self, session: Session) -> set[Day]:
        """The days that have rows, this transaction's own among them."""
        with self._lock:
            if self._days is None:
                self._days = self._load_days()
            return self._days | {day for day, _ in self._pending(session)}

    def runs(self, session: Session, day: Day) -> list[SortedRuns]:
        """What is known of a day: what SQL has committed, then this transaction's own runs."""
        found = []
        with self._lock:
            if self._days is None:
                self._days = self._load_days()
            if day in self._days:
                found.append(self._day(day))
        own = [columns for known, (_, columns) in self._pending(session) if known == day]
        if own:
            mine = SortedRuns()
            for columns in own:
                mine.add(columns)
            found.append(mine)
        return found

    def catch_up(self, runs: Iterable[tuple[Day, Run]]) -> None:
        """Take in runs that other processes have committed since `last_seq`."""
        with self._lock:
            for day, (seq, columns) in runs:
                self._take(day, seq, columns)
            self._shrink()

    def add(self, session: Session, day: Day, seq: int, columns: tuple[Column, ...]) -> None:
        """Take in a sorted run that this transaction has just written."""
        key = ("day_index", id(self))
        if key not in session.info:
            session.info[key] = []
            event.listen(session, "after_commit", self._committed)
            event.listen(session, "after_rollback", self._rolled_back)
        session.info[key].append((day, (seq, columns)))

    def forget(self) -> None:
        """Drop the cache, for example because another process has written; SQL fills it again."""
        with self._lock:
            self._days = None
            self._held.clear()

    def forget_on_commit(self, session: Session) -> None:
        """Forget when this transaction, which has rearranged rows, commits."""
        event.listen(session, "after_commit", lambda _: self.forget(), once=True)

    def _pending(self, session: Session) -> list[tuple[Day, Run]]:
        pending: list[tuple[Day, Run]] = session.info.get(("day_index", id(self)), [])
        return pending

    def _committed(self, session: Session) -> None:
        with self._lock:
            for day, (seq, columns) in self._pending(session):
                self._take(day, seq, columns)
            self._pending(session).clear()
            self._shrink()

    def _rolled_back(self, session: Session) -> None:
        # A COMMIT whose answer was lost looks like a failure but may have succeeded: ask SQL.
        with self._lock:
            for day, _ in self._pending(session):
                self._held.pop(day, None)
                self._days = None
            self._pending(session).clear()

    def _take(self, day: Day, seq: int, columns: tuple[Column, ...]) -> None:
        self.last_seq = max(self.last_seq, seq)
        if self._days is not None:
            self._days.add(day)
        if day in self._held:
            runs, seen = self._held[day]
            if seq not in seen:
                seen.add(seq)
                runs.add(columns)

    def _day(self, day: Day) -> SortedRuns:
        if day not in self._held:
            runs = SortedRuns()
            seen = set()
            for seq, columns in self._load(day):
                self.last_seq = max(self.last_seq, seq)
                seen.add(seq)
                runs.add(columns)
            self._held[day] = (runs, seen)
            self._shrink(keep=day)
        self._held.move_to_end(day)
        return self._held[day][0]

    def _shrink(self, keep: Day | str = "") -> None:
        total = sum(runs.rows for runs, _ in self._held.values())
        for day in list(self._held):
            if total <= self._max_ids or len(self._held) == 1:
                return
            if day != keep:
                total -= self._held.pop(day)[0].rows


def by_day(
    days: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> Iterator[tuple[int, slice | Column]]:
    """Each day with the rows (index) that fall on it; the whole slice where there is one day."""
    if not len(days):
        return
    if (days == days[0]).all():
        yield int(days[0]), slice(None)
        return
    order = np.argsort(days, kind="stable")
    found, starts = np.unique(days[order], return_index=True)
    for day, rows in zip(found, np.split(order, starts[1:]), strict=True):
        yield int(day), rows
