"""The one writer of events and labels: batches queue up, are committed together, then answered.

A caller gets a future that resolves after the transaction that holds its rows has committed, so
nothing acknowledged can be lost. While one group is being written the next one gathers, which
makes one fsync serve many callers. If a group fails, its batches are tried one by one, so that a
bad one sinks only itself. The queue is bounded: what does not fit is refused at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from detectors.records import DAY_US, HOUR_US, BoolArray, IntArray, concat_windows, to_us
from monitor.clock import Clock
from monitor.errors import KedgeError
from monitor.intake.batches import EventBatch, LabelBatch, Refused
from monitor.intake.new_names import NewNames
from monitor.intake.sampling import SamplerState, Sampling, kept, sample
from storage.deployments import closed_until_us, latest_event_us, lock_model
from storage.engine import Database
from storage.identity import Identity
from storage.inbox import append_events
from storage.labels import append_labels
from storage.rejections import Rejection, note_rejections

log = structlog.get_logger(__name__)

Within = Callable[[Session], None]
"""Work to do in the same transaction as a batch: a pull source saves its position."""


class OverloadedError(KedgeError):
    """The queue is full. The same batch will be welcome a little later."""


class StoppingError(KedgeError):
    """The service is stopping and takes nothing more."""


@dataclass(frozen=True, slots=True)
class ModelIngest:
    """What ingest needs to know of a model."""

    lateness_us: int = HOUR_US
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch, once committed.

    `accepted` includes `late`, and of labels `waiting` (no such event yet) and `correction` (the
    event has another label already; reports read it).
    accepted + duplicate + sampled_out + rejected is the number of rows sent.
    """

    accepted: int = 0
    duplicate: int = 0
    sampled_out: int = 0
    rejected: int = 0
    late: int = 0
    waiting: int = 0
    correction: int = 0
    refused: Refused = field(default_factory=Refused)


@dataclass(slots=True)
class IngestStats:
    """Totals since the start, for /metrics. Written by the writer thread alone."""

    events: dict[str, Receipt] = field(default_factory=dict)
    labels: dict[str, Receipt] = field(default_factory=dict)
    groups: int = 0
    group_failures: int = 0
    last_commit_seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Task:
    batch: EventBatch | LabelBatch
    within: Within | None
    received_at: datetime
    future: Future[Receipt]


@dataclass(slots=True)
class _Memory:
    """What the writer keeps of a model between groups."""

    identity: Identity
    sampler: SamplerState = field(default_factory=SamplerState)


class Ingest:
    """Takes batches from any thread and writes them from one.

    `settings` gives a model's lateness and sampling. `after_commit` is called from the writer
    thread with the names of the models that got rows, `within_commit` with them in the
    transaction that stores the rows. `max_rows` bounds rows waiting, so memory;
    `group_rows` the rows of one transaction (a larger single batch still goes through).
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Callable[[str], ModelIngest],
        *,
        max_rows: int = 400_000,
        max_batches: int = 4_000,
        group_rows: int = 32_000,
        after_commit: Callable[[frozenset[str]], None] | None = None,
        within_commit: Callable[[Session, frozenset[str]], None] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._max_rows = max_rows
        self._max_batches = max_batches
        self._group_rows = group_rows
        self._after_commit = after_commit
        self._within_commit = within_commit
        self._queue: deque[_Task] = deque()
        self._queued_rows = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._memory: dict[str, _Memory] = {}
        self._thread = threading.Thread(target=self._run, name="ingest-writer", daemon=True)
        self.stats = IngestStats()
        self.new_names = NewNames()

    # ---- called from any thread

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Refuse new batches, write what is queued, and end. True if all of it was written."""
        self.refuse()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def refuse(self) -> None:
        """Refuse new batches; the writer ends once it has written what is queued."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    @property
    def queued_rows(self) -> int:
        """Rows waiting to be written."""
        return self._queued_rows

    def submit_events(self, batch: EventBatch, *, within: Within | None = None) -> Future[Receipt]:
        """Queue events; the future resolves after their commit.

        Raises:
            OverloadedError: the queue is full.
            StoppingError: after `stop`.
        """
        return self._submit(batch, within)

    def submit_labels(self, batch: LabelBatch, *, within: Within | None = None) -> Future[Receipt]:
        """Queue labels; as `submit_events`."""
        return self._submit(batch, within)

    def _submit(self, batch: EventBatch | LabelBatch, within: Within | None) -> Future[Receipt]:
        task = _Task(batch, within, self._clock.now(), Future())
        with self._changed:
            if self._stopping:
                raise StoppingError("the service is stopping; send the batch to it again later")
            full = self._queue and (
                self._queued_rows + batch.rows > self._max_rows
                or len(self._queue) >= self._max_batches
            )
            if full:
                raise OverloadedError(f"{self._queued_rows:,} rows are waiting to be written")
            self._queue.append(task)
            self._queued_rows += batch.rows
            self._changed.notify()
        return task.future

    def forget(self) -> None:
        """Empty the memory of ids; SQL fills it again. For example after rows were pruned."""
        for memory in list(self._memory.values()):
            memory.identity.forget()

    # ---- the writer thread

    def _run(self) -> None:
        while group := self._next_group():
            started = self._clock.monotonic()
            self._write_group(group)
            self.stats.groups += 1
            self.stats.last_commit_seconds = self._clock.monotonic() - started

    def _next_group(self) -> list[_Task]:
        """Everything queued up to the group's size; empty once stopped and drained."""
        with self._changed:
            while True:
                while not self._queue and not self._stopping:
                    self._changed.wait()
                group: list[_Task] = []
                rows = 0
                while self._queue and (
                    not group or rows + self._queue[0].batch.rows <= self._group_rows
                ):
                    task = self._queue.popleft()
                    self._queued_rows -= task.batch.rows
                    if task.future.set_running_or_notify_cancel():
                        group.append(task)
                        rows += task.batch.rows
                if group or (not self._queue and self._stopping):
                    return group

    def _write_group(self, group: Sequence[_Task]) -> None:
        try:
            receipts = self._commit(group)
        except Exception as error:
            self.stats.group_failures += 1
            log.warning("ingest.group_failed", batches=len(group), error=_line(error))
            if len(group) == 1 or isinstance(error, DBAPIError):
                for task in group:  # the database itself fails: each alone would fail as well
                    task.future.set_exception(error)
                return
            for task in group:
                self._write_group([task])
            return
        for task, receipt in zip(group, receipts, strict=True):
            self._count(task, receipt)
        if self._after_commit is not None:
            self._after_commit(frozenset(task.batch.model for task in group))
        for task, receipt in zip(group, receipts, strict=True):
            task.future.set_result(receipt)

    def _commit(self, group: Sequence[_Task]) -> list[Receipt]:
        """One transaction for all; receipts in the order of the group."""
        receipts: dict[int, Receipt] = {}
        samplers: dict[str, SamplerState] = {}
        models = frozenset(task.batch.model for task in group)
        with self._database.write() as session:
            if len(models) > 1:
                for model in sorted(models):  # in one order, or two processes wait in a ring
                    lock_model(session, model)
            for model, tasks in _by_model(group, EventBatch).items():
                found, samplers[model] = self._append_events(session, model, tasks)
                receipts |= {id(task): receipt for task, receipt in zip(tasks, found, strict=True)}
            for model, tasks in _by_model(group, LabelBatch).items():
                found = self._append_labels(session, model, tasks)
                receipts |= {id(task): receipt for task, receipt in zip(tasks, found, strict=True)}
            for task in group:
                _note(session, task)
                if task.within is not None:
                    task.within(session)
            if self._within_commit is not None:
                self._within_commit(session, models)
        for model, sampler in samplers.items():
            self._remembered(model).sampler = sampler
        return [receipts[id(task)] for task in group]

    def _append_events(
        self, session: Session, model: str, tasks: Sequence[_Task]
    ) -> tuple[list[Receipt], SamplerState]:
        memory, settings = self._remembered(model), self._settings(model)
        sampler = memory.sampler
        lock_model(session, model)
        latest = latest_event_us(session, model)
        closed = closed_until_us(session, model)
        kept_batches: list[EventBatch] = []
        late: list[BoolArray] = []
        for task in tasks:
            assert isinstance(task.batch, EventBatch)
            batch, window = task.batch, task.batch.window
            if batch.rows:
                keep, weight, sampler = sample(window, batch.id_hi, settings.sampling, sampler)
                if weight is not None:
                    window = replace(window, weight=window.weights() * weight)
                    batch = replace(batch, window=window).take(keep)
            kept_batches.append(batch)
            ts_us = batch.window.ts_us
            ts_us = np.empty(0, np.int64) if ts_us is None else ts_us
            # Late by what had been accepted before this batch: rows of one batch stand together.
            watermark = None if latest is None else latest - settings.lateness_us
            if closed is not None:
                watermark = closed if watermark is None else max(watermark, closed)
            late.append(np.zeros(batch.rows, np.bool_) if watermark is None else ts_us < watermark)
            if batch.rows:
                latest = max(latest if latest is not None else int(ts_us[0]), int(ts_us.max()))
        duplicate = self._store(session, memory.identity, tasks, kept_batches, late)
        receipts = [
            Receipt(
                accepted=batch.rows - int(again.sum()),
                duplicate=int(again.sum()),
                sampled_out=task.batch.rows - batch.rows,
                rejected=batch.refused.total,
                late=int((behind & ~again).sum()),
                refused=batch.refused,
            )
            for task, batch, behind, again in zip(tasks, kept_batches, late, duplicate, strict=True)
        ]
        return receipts, sampler

    def _store(
        self,
        session: Session,
        identity: Identity,
        tasks: Sequence[_Task],
        batches: Sequence[EventBatch],
        late: Sequence[BoolArray],
    ) -> list[BoolArray]:
        """Append neighbouring batches of one shape as one segment; which rows were repeats."""
        duplicate: list[BoolArray] = [np.zeros(0, np.bool_)] * len(batches)
        for run in _runs_of_one_shape(batches):
            joined = append_events(
                session,
                identity,
                concat_windows(batches[i].window for i in run),
                np.concatenate([batches[i].id_hi for i in run]),
                np.concatenate([batches[i].id_lo for i in run]),
                received_at=tasks[run[0]].received_at,
                late=np.concatenate([late[i] for i in run]),
            ).duplicate
            ends = np.cumsum([batches[i].rows for i in run])
            for i, part in zip(run, np.split(joined, ends[:-1]), strict=True):
                duplicate[i] = part
        return duplicate

    def _append_labels(self, session: Session, model: str, tasks: Sequence[_Task]) -> list[Receipt]:
        highest = self._settings(model).sampling.highest_threshold
        batches: list[LabelBatch] = []
        for task in tasks:
            assert isinstance(task.batch, LabelBatch)
            keep = kept(task.batch.id_hi, highest)
            batches.append(task.batch if keep.all() else task.batch.take(keep))
        columns = [(b.id_hi, b.id_lo, b.label, b.label_ts_us) for b in batches]
        hi, lo, label, ts_us = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        if len(label):
            identity = self._remembered(model).identity
            receipt = append_labels(session, identity, hi, lo, label, ts_us, tasks[0].received_at)
            masks = (receipt.duplicate, receipt.correction, receipt.waiting)
        else:
            lock_model(session, model)
            masks = (np.zeros(0, np.bool_),) * 3
        ends: IntArray = np.cumsum([batch.rows for batch in batches])
        parts = [np.split(mask, ends[:-1]) for mask in masks]
        return [
            Receipt(
                accepted=batch.rows - int(duplicate.sum()),
                duplicate=int(duplicate.sum()),
                sampled_out=task.batch.rows - batch.rows,
                rejected=batch.refused.total,
                waiting=int(waiting.sum()),
                correction=int(correction.sum()),
                refused=batch.refused,
            )
            for task, batch, duplicate, correction, waiting in zip(
                tasks, batches, *parts, strict=True
            )
        ]

    def _remembered(self, model: str) -> _Memory:
        if model not in self._memory:
            self._memory[model] = _Memory(Identity(self._database, model))
        return self._memory[model]

    def _count(self, task: _Task, receipt: Receipt) -> None:
        totals = self.stats.events if isinstance(task.batch, EventBatch) else self.stats.labels
        before = totals.get(task.batch.model, Receipt())
        totals[task.batch.model] = Receipt(
            *(
                getattr(before, name) + getattr(receipt, name)
                for name in (
                    "accepted",
                    "duplicate",
                    "sampled_out",
                    "rejected",
                    "late",
                    "waiting",
                    "correction",
                )
            )
        )


def _by_model(
    group: Sequence[_Task], kind: type[EventBatch | LabelBatch]
) -> dict[str, list[_Task]]:
    tasks: dict[str, list[_Task]] = {}
    for task in group:
        if isinstance(task.batch, kind):
            tasks.setdefault(task.batch.model, []).append(task)
    return tasks


def _runs_of_one_shape(batches: Sequence[EventBatch]) -> list[list[int]]:
    """Positions of neighbouring batches that have rows and the same columns."""
    runs: list[list[int]] = []
    shape: object = None
    for i, batch in enumerate(batches):
        if not batch.rows:
            continue
        window = batch.window
        width = None if window.embedding is None else window.embedding.shape[1]
        this = (tuple(window.numeric), tuple(window.categorical), width)
        if this != shape:
            runs.append([])
            shape = this
        runs[-1].append(i)
    return runs


def _note(session: Session, task: _Task) -> None:
    """Count what was refused, by the day it came."""
    tallies = task.batch.refused.tallies
    day = to_us(task.received_at) // DAY_US
    note_rejections(
        session,
        task.batch.model,
        [
            Rejection("", day, column, reason, tally.count, tally.example)
            for (column, reason), tally in tallies.items()
        ],
    )


def _line(error: Exception) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"
