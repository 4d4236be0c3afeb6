"""The thread that sends: batches from memory or disk, one at a time, with patience."""

from __future__ import annotations

import gzip
import logging
import random
import threading
import time
from collections import deque
from pathlib import Path

from kedge_client.queue import Batch, Queue
from kedge_client.sender import Answer, Fate, Sender, compress
from kedge_client.spill import Spill, Spilled

log = logging.getLogger("kedge_client")
SAY_EVERY_S = 60.0
LONGEST_ASKED_S = 300.0


class Worker:
    """Owns the connection and the files of one process."""

    def __init__(
        self,
        queue: Queue,
        sender: Sender,
        *,
        batch_rows: int,
        every_s: float,
        backoff_s: tuple[float, float],
        spill: tuple[Path, int] | None,
    ) -> None:
        self._queue, self._sender = queue, sender
        self._batch_rows, self._every_s, self._backoff_s = batch_rows, every_s, backoff_s
        self._spill_at = spill
        self._spill: Spill | None = None
        self._pending: deque[Batch] = deque()
        self._failures = 0
        self._not_before_s = 0.0
        self._said_s = float("-inf")
        self._stop_by_s = float("inf")
        self._thread = threading.Thread(target=self._run, name="kedge-client", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Send what waits within the time, put the rest away, end."""
        self._stop_by_s = time.monotonic() + within_s
        self._queue.close()
        self._thread.join(within_s)
        if self._thread.is_alive():  # in the middle of a slow request
            self._sender.abort()
            self._thread.join(1.0)

    def forget(self) -> None:
        """In a child after a fork: the thread is gone, connection and files are the parent's."""
        self._sender.close()
        if self._spill is not None:
            self._spill.forget()

    def _run(self) -> None:
        self._open_spill()
        while True:  # the thread must live as long as its process, whatever goes wrong in a turn
            try:
                if self._turn():
                    break
            except Exception as error:
                self._say(f"{type(error).__name__}: {error}")
                self._queue.pause(self._backoff_s[0])
        self._put_away()

    def _turn(self) -> bool:
        """Send one batch or wait for one; True when there is nothing more to do."""
        closing, now_s = self._queue.closed, time.monotonic()
        wait_s = self._not_before_s - now_s
        if closing and now_s + max(wait_s, 0.0) >= self._stop_by_s:
            return True
        if wait_s > 0:
            self._make_room()
            if closing:
                time.sleep(min(wait_s, 0.05))
            else:
                self._queue.pause(min(wait_s, self._every_s))
            return False
        if self._spill is not None and (oldest := self._spill.oldest()) is not None:
            self._send_file(self._spill, oldest)
            return False
        if not self._pending:
            batch = self._queue.take(self._batch_rows, self._every_s)
            if batch is None:
                return closing
            self._pending.append(batch)
        self._send(self._pending[0])
        return False

    def _send(self, batch: Batch) -> None:
        """The first of the pending batches; it stays there if it is to be tried again."""
        answer = self._post(batch.kind, compress(batch.lines))
        if answer.fate is Fate.AGAIN:
            return
        self._pending.popleft()
        if answer.fate is Fate.SPLIT and len(batch.lines) > 1:
            self._pending.extendleft(reversed(_halves(batch)))
        else:
            self._queue.settle(_complete(answer, len(batch.lines)))

    def _send_file(self, spill: Spill, file: Spilled) -> None:
        try:
            body = file.path.read_bytes()
        except OSError as error:
            self._say(f"{type(error).__name__}: {error}")
            spill.done(file)
            self._queue.settle(dropped=file.rows)
            return
        answer = self._post(file.kind, body)
        if answer.fate is Fate.AGAIN:
            return
        spill.done(file)
        if answer.fate is Fate.SPLIT and file.rows > 1:
            lines = gzip.decompress(body).splitlines(keepends=True)
            self._pending.extendleft(reversed(_halves(Batch(file.kind, lines))))
        else:
            self._queue.settle(_complete(answer, file.rows))

    def _post(self, kind: str, body: bytes) -> Answer:
        """One attempt; after a failure nothing is sent for a while."""
        answer = self._sender.post(kind, body, time.time())
        failed = answer.fate is Fate.AGAIN
        self._queue.attempted(answer.words, failed=failed)
        if answer.fate is not Fate.DONE:
            self._say(answer.words)
        if not failed:
            self._failures = 0
            return answer
        self._failures += 1
        wait_s = min(self._backoff_s[1], self._backoff_s[0] * 2.0 ** (self._failures - 1))
        wait_s *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, keeps no secret
        if answer.wait_s is not None:
            wait_s = max(wait_s, min(answer.wait_s, LONGEST_ASKED_S))
        self._not_before_s = time.monotonic() + wait_s
        return answer

    def _make_room(self) -> None:
        """While the daemon is away, whole batches go to disk where there is one."""
        if self._spill is None:
            return
        while self._pending or self._queue.rows >= self._batch_rows:
            if not self._pending:
                batch = self._queue.take(self._batch_rows, 0.0)
                if batch is None:
                    return
                self._pending.append(batch)
            if not self._to_disk(self._spill, self._pending[0]):
                return
            self._pending.popleft()

    def _to_disk(self, spill: Spill, batch: Batch) -> bool:
        """Whether the batch is on disk now."""
        body = compress(batch.lines)
        if not spill.has_room(len(body)):
            return False
        try:
            spill.put(batch.kind, len(batch.lines), body)
        except OSError as error:
            self._say(f"{type(error).__name__}: {error}")
            return False
        self._queue.attempted(spilled=len(batch.lines))
        return True

    def _open_spill(self) -> None:
        if self._spill_at is None:
            return
        try:
            self._spill = Spill(*self._spill_at)
        except OSError as error:
            self._say(f"no spilling to disk: {type(error).__name__}: {error}")
            return
        self._queue.adopted(self._spill.rows)

    def _put_away(self) -> None:
        """What could not be sent in time: to disk, or dropped and counted."""
        self._sender.close()
        dropped = 0
        while batch := self._queue.take(self._batch_rows, 0.0):
            self._pending.append(batch)
        for batch in self._pending:
            if self._spill is None or not self._to_disk(self._spill, batch):
                dropped += len(batch.lines)
        self._pending.clear()
        if dropped:
            self._queue.settle(dropped=dropped)
            log.warning("kedge-client: %d rows were not sent when the client closed", dropped)
        if self._spill is not None:
            self._spill.close()

    def _say(self, words: str) -> None:
        """A warning, at most once a minute."""
        now_s = time.monotonic()
        if now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            log.warning("kedge-client: %s (trying on; see Client.stats)", words)


def _halves(batch: Batch) -> list[Batch]:
    middle = len(batch.lines) // 2
    return [Batch(batch.kind, batch.lines[:middle]), Batch(batch.kind, batch.lines[middle:])]


def _complete(answer: Answer, rows: int) -> dict[str, int]:
    """Counts that add up to the rows sent, whatever the reply said."""
    rest = "accepted" if answer.fate is Fate.DONE else "rejected"
    told = sum(answer.counts.values())
    if told > rows:
        return {rest: rows}
    return {**answer.counts, rest: answer.counts.get(rest, 0) + rows - told}
