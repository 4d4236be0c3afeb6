"""The client: two bounded queues, one thread, and nothing that raises into the code that serves."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import uuid
import weakref
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from kedge_client.encode import instant, to_line
from kedge_client.queue import Queue
from kedge_client.sender import Sender
from kedge_client.stats import Stats
from kedge_client.worker import Worker

log = logging.getLogger("kedge_client")
CLOSE_WITHIN_S = 5.0


class Client:
    """Sends events and labels of one model to a Kedge daemon.

    `log` and `label` take microseconds, never wait for the network and never raise. Rows leave in
    batches of up to `batch_rows`, at the latest `every_s` after they came. A daemon that is away
    or busy is tried again with growing waits; ids stay the same, so a repeat changes nothing there.
    Meanwhile up to `most_rows` and `most_bytes` wait in memory, and up to `spill_bytes` in
    `spill_dir` where one is given; beyond that rows are dropped, the newest or the oldest first,
    and counted. May be used from any thread and survives a fork: the child begins with empty
    queues.

    Raises ValueError, at once and only here, where a setting makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        token: str | None = None,
        domain: str | None = None,
        version: str | None = None,
        batch_rows: int = 1_000,
        every_s: float = 1.0,
        most_rows: int = 50_000,
        most_bytes: int = 64 * 2**20,
        drop: Literal["newest", "oldest"] = "newest",
        timeout_s: float = 10.0,
        backoff_s: tuple[float, float] = (0.5, 60.0),
        spill_dir: str | Path | None = None,
        spill_bytes: int = 256 * 2**20,
    ) -> None:
        if not model:
            msg = "model is empty; name the model that kedge.toml has a section for"
            raise ValueError(msg)
        if not 1 <= batch_rows <= 100_000:
            msg = f"batch_rows is {batch_rows}; from 1 to 100000 would do"
            raise ValueError(msg)
        if drop not in {"newest", "oldest"}:
            msg = f"drop is {drop!r}; it is 'newest' or 'oldest'"
            raise ValueError(msg)
        self._defaults = {
            name: value
            for name, value in (("domain", domain), ("version", version))
            if value is not None
        }
        self._url, self._model, self._token, self._timeout_s = url, model, token, timeout_s
        self._most_rows, self._most_bytes, self._drop = max(most_rows, 1), most_bytes, drop
        self._new_sender()  # an address that cannot be meant is told now
        self._batch_rows, self._every_s, self._backoff_s = batch_rows, every_s, backoff_s
        self._spill = (Path(spill_dir), spill_bytes) if spill_dir is not None else None
        self._begin()
        _living.add(self)

    def log(self, event: Mapping[str, Any] | None = None, /, **fields: Any) -> str:
        """Log one prediction, as a mapping, as keywords, or both; the id it goes by.

        The fields are those of Kedge's events: id, ts, domain, version, features, score,
        baseline_score, head_score, full_score, prediction, arm, weight, cluster, embedding. Without
        an id one is made, without ts it is now.
        """
        try:
            row = {**self._defaults, **(event or {}), **fields}
            row["id"] = str(row["id"]) if row.get("id") is not None else uuid.uuid4().hex
            row["ts"] = instant(row.get("ts"), time.time())
            self._put("events", row)
        except Exception as error:
            self._unreadable(error)
            return ""
        return str(row["id"])

    def label(
        self, event_id: str, label: float, *, ts: datetime | float | str | None = None
    ) -> None:
        """Log the truth about an event; `ts` is when it became known, now if left out."""
        try:
            when = instant(ts, time.time())
            self._put("labels", {"id": str(event_id), "label": label, "ts": when})
        except Exception as error:
            self._unreadable(error)

    def flush(self, within_s: float = 30.0) -> bool:
        """Wait until all rows logged so far have left this process; False if time ran out."""
        return self._queue.wait_until_settled(within_s)

    def close(self, within_s: float = CLOSE_WITHIN_S) -> Stats:
        """Send what waits, then stop. The rest goes to `spill_dir`, or is dropped and counted."""
        _living.discard(self)
        self._queue.close()
        worker = self._worker
        if worker is not None:
            worker.stop(within_s)
        return self.stats

    async def aflush(self, within_s: float = 30.0) -> bool:
        """`flush` for coroutines; `log` and `label` never wait and need no twin."""
        return await asyncio.to_thread(self.flush, within_s)

    async def aclose(self, within_s: float = CLOSE_WITHIN_S) -> Stats:
        """`close` for coroutines."""
        return await asyncio.to_thread(self.close, within_s)

    @property
    def stats(self) -> Stats:
        """Counts so far, as a copy."""
        return self._queue.stats()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _begin(self) -> None:
        """Fresh queues and no thread yet: at the start, and in a child after a fork."""
        self._queue = Queue(
            most_rows=self._most_rows,
            most_bytes=self._most_bytes,
            drop_oldest=self._drop == "oldest",
        )
        self._starting = threading.Lock()
        self._worker: Worker | None = None

    def _new_sender(self) -> Sender:
        return Sender(self._url, model=self._model, token=self._token, timeout_s=self._timeout_s)

    def _after_fork(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.forget()
        self._begin()

    def _put(self, kind: str, row: Mapping[str, Any]) -> None:
        self._queue.put(kind, to_line(row), self._batch_rows)
        if self._worker is None:
            self._start()

    def _start(self) -> None:
        """The thread starts with the first row, in the process that logs it."""
        with self._starting:
            if self._worker is None:
                self._worker = Worker(
                    self._queue,
                    self._new_sender(),
                    batch_rows=self._batch_rows,
                    every_s=self._every_s,
                    backoff_s=self._backoff_s,
                    spill=self._spill,
                )
                self._worker.start()

    def _unreadable(self, error: Exception) -> None:
        self._queue.unreadable(f"{type(error).__name__}: {error}"[:200])


_living: weakref.WeakSet[Client] = weakref.WeakSet()


def _fork_all() -> None:
    for client in list(_living):
        client._after_fork()


def _close_all() -> None:
    for client in list(_living):
        client.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_all)
