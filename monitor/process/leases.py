"""Which jobs this process does, where several share a database: leases kept alive by a heartbeat.

On SQLite one process writes, and holds every job.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from monitor.clock import Clock
from storage.engine import Database
from storage.leases import (
    Lease,
    LostLeaseError,
    extend_lease,
    hold_lease,
    release_lease,
    take_lease,
)

log = structlog.get_logger(__name__)

LENGTH = timedelta(seconds=15)
"""How long a job waits for a process that was killed. Three heartbeats may be missed in it."""

HEARTBEATS = 3


@dataclass(slots=True, eq=False)
class Held:
    """A job this process does now. `lease` is None on SQLite, where nobody else could."""

    lease: Lease | None = None
    done: int | None = None

    def guard(self, session: Session) -> None:
        """Call it in the transaction that writes: it fails if another process has the job.

        Raises:
            LostLeaseError: this process was stopped for longer than its lease.
        """
        if self.lease is not None:
            hold_lease(session, self.lease)

    @property
    def seen(self) -> int:
        """The change number that the last holder had worked through; -1: not known."""
        return -1 if self.lease is None else self.lease.done


@dataclass(slots=True, eq=False)
class Leases:
    """The leases of one process. Safe to use from several threads; call `close` at the end."""

    database: Database
    clock: Clock
    length: timedelta = LENGTH
    holder: str = field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    )
    _held: dict[str, Held] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _heart: threading.Thread | None = None

    @contextmanager
    def holding(self, job: str) -> Iterator[Held | None]:
        """The job for as long as the block runs; None inside it where another process has it.

        `Held.done`, where set, is stored for the next holder. What the block writes is safe if
        its transaction calls `Held.guard`, or is one that may be run twice.
        """
        if self.database.is_sqlite:
            yield Held()
            return
        with self.database.write() as session:
            lease = take_lease(session, job, self.holder, now=self.clock.now(), length=self.length)
        if lease is None:
            yield None
            return
        held = Held(lease)
        with self._lock:
            self._held[job] = held
            self._start_heart()
        finished = False
        try:
            yield held
            finished = True
        finally:
            with self._lock:
                self._held.pop(job, None)
            self._release(held, held.done if finished else None)

    def close(self) -> None:
        """Stop the heartbeat. Leases still held run out by themselves."""
        self._ended.set()
        if self._heart is not None:
            self._heart.join()

    def _release(self, held: Held, done: int | None) -> None:
        assert held.lease is not None
        try:
            with self.database.write() as session:
                if not release_lease(session, held.lease, done=done):
                    log.warning("lease.lost", job=held.lease.job, epoch=held.lease.epoch)
        except SQLAlchemyError as error:  # it runs out by itself
            log.warning("lease.kept", job=held.lease.job, error=type(error).__name__)

    def _start_heart(self) -> None:
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="leases", daemon=True)
            self._heart.start()

    def _beat(self) -> None:
        while not self._ended.wait(self.length.total_seconds() / HEARTBEATS):
            with self._lock:
                held = list(self._held.items())
            for job, mine in held:
                self._extend(job, mine)

    def _extend(self, job: str, held: Held) -> None:
        assert held.lease is not None
        try:
            with self.database.write() as session:
                extend_lease(session, held.lease, now=self.clock.now(), length=self.length)
        except LostLeaseError:
            with self._lock:
                if self._held.get(job) is held:
                    del self._held[job]  # its guard will say so where it matters
        except SQLAlchemyError as error:
            log.warning("lease.not_extended", job=job, error=type(error).__name__)
