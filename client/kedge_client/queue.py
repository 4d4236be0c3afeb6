"""Rows that wait in memory, bounded in rows and bytes, and the counts of what became of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kedge_client.stats import Stats

KINDS = ("events", "labels")


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of one kind, taken from the queue."""

    kind: str
    lines: list[bytes]


class Queue:
    """Two lines of waiting rows under one lock. `log` holds it for an append."""

    def __init__(self, *, most_rows: int, most_bytes: int, drop_oldest: bool) -> None:
        self._most_rows, self._most_bytes = most_rows, most_bytes
        self._drop_oldest = drop_oldest
        self._lines: dict[str, deque[bytes]] = {kind: deque() for kind in KINDS}
        self._turns: tuple[str, ...] = KINDS
        self._rows = self._bytes = 0
        self._settled = 0
        self._closed = False
        self._hurry = False
        self._stats = Stats()
        lock = threading.Lock()
        self._work = threading.Condition(lock)
        self._progress = threading.Condition(lock)

    def put(self, kind: str, line: bytes, batch_rows: int) -> None:
        """Add a row, or drop one where there is no room."""
        with self._work:
            self._stats.logged += 1
            if self._closed or not self._make_room(len(line)):
                self._settle(dropped=1)
                return
            lines = self._lines[kind]
            lines.append(line)
            self._rows += 1
            self._bytes += len(line)
            if len(lines) == batch_rows:
                self._work.notify()

    def take(self, batch_rows: int, wait_s: float) -> Batch | None:
        """Up to a batch of one kind, once there are so many rows or `wait_s` have gone by.

        The kinds take turns, so that neither waits for ever behind the other.
        """

        def due() -> bool:
            full = any(len(lines) >= batch_rows for lines in self._lines.values())
            return self._closed or full or (self._hurry and self._rows > 0)

        with self._work:
            self._work.wait_for(due, wait_s)
            kind = next((kind for kind in self._turns if self._lines[kind]), None)
            if kind is None:
                return None
            self._turns = (*(other for other in KINDS if other != kind), kind)
            return Batch(kind, self._pop(kind, batch_rows))

    def pause(self, wait_s: float) -> None:
        """Sit out a wait; a close ends it."""
        with self._work:
            self._work.wait_for(lambda: self._closed, wait_s)

    def settle(self, counts: Mapping[str, int] | None = None, *, dropped: int = 0) -> None:
        """Rows have left: as the daemon counted, or dropped."""
        with self._work:
            for name, count in (counts or {}).items():
                setattr(self._stats, name, getattr(self._stats, name) + count)
            self._settle(sum((counts or {}).values()), dropped=dropped)

    def attempted(self, words: str = "", *, failed: bool = False, spilled: int = 0) -> None:
        """A request was made, or rows went to disk."""
        with self._work:
            self._stats.attempts += not spilled
            self._stats.failures += failed
            self._stats.spilled += spilled
            self._stats.last_error = words or self._stats.last_error

    def adopted(self, rows: int) -> None:
        """Rows that another process left on disk are ours now."""
        with self._work:
            self._stats.logged += rows

    def unreadable(self, words: str) -> None:
        """A row could not be written down."""
        with self._work:
            self._stats.logged += 1
            self._stats.unreadable += 1
            self._stats.last_error = words
            self._settle(dropped=1)

    def wait_until_settled(self, within_s: float) -> bool:
        """Wait until as many rows have left as were logged when this was called."""
        with self._progress:
            wanted = self._stats.logged
            self._hurry = True
            self._work.notify_all()
            done = self._progress.wait_for(lambda: self._settled >= wanted, within_s)
            self._hurry = self._closed
            return done

    def close(self) -> None:
        """Take no more rows; wake whoever waits."""
        with self._work:
            self._closed = self._hurry = True
            self._work.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def rows(self) -> int:
        return self._rows

    def stats(self) -> Stats:
        with self._work:
            return replace(self._stats, waiting=self._stats.logged - self._settled)

    def _pop(self, kind: str, rows: int) -> list[bytes]:
        lines = self._lines[kind]
        taken = [lines.popleft() for _ in range(min(rows, len(lines)))]
        self._rows -= len(taken)
        self._bytes -= sum(map(len, taken))
        return taken

    def _make_room(self, size: int) -> bool:
        def fits() -> bool:
            return self._rows < self._most_rows and self._bytes + size <= self._most_bytes

        while not fits() and self._drop_oldest and self._rows:
            oldest = next(kind for kind in KINDS if self._lines[kind])
            self._pop(oldest, 1)
            self._settle(dropped=1)
        return fits()

    def _settle(self, rows: int = 0, *, dropped: int = 0) -> None:
        self._stats.dropped += dropped
        self._settled += rows + dropped
        self._progress.notify_all()
