"""Faults at calls of the database and of HTTP, one process's memory at a time.

A call can fail before it did anything, fail after it did everything (a commit whose answer is
lost), or be the last thing its process does. A crash is a `BaseException` that nothing in the
product catches for good; the calls of a process that is dead fail one and all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from alerts.notifiers import Letter, Outgoing, Relayed
from alerts.schedule import Reply
from monitor.intake.ingest import Ingest
from monitor.outgoing.addresses import Network
from storage.engine import Database


class Harm(StrEnum):
    """What happens to one call."""

    FAIL_BEFORE = "fails before"
    FAIL_AFTER = "fails after"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"


class Crash(BaseException):
    """The process is gone."""


Plan = Callable[[int, str], Harm | None]
"""The number of a call, from 1, and what it is; how it is to be harmed."""


@dataclass(slots=True)
class Faults:
    """Counts calls, and harms those that the plan names."""

    plan: Plan = lambda _number, _what: None
    armed: bool = False
    dead: bool = False
    calls: int = 0
    done: list[str] = field(default_factory=list)
    _after: Harm | None = None

    def watch(self, database: Database) -> None:
        """Stand between the product and this database."""
        for engine in (database.writer, database.reader):
            self._watch(engine)

    def _watch(self, engine: Engine) -> None:
        @event.listens_for(engine, "before_cursor_execute")
        def before(_c: Connection, _cursor: Any, statement: str, *_: object) -> None:
            self._after = self.before(statement.lstrip().split("\n", 1)[0][:60])

        @event.listens_for(engine, "after_cursor_execute")
        def after(_c: Connection, cursor: Any, *_: object) -> None:
            if self._after is Harm.CRASH_AFTER:
                # A dead process has no statement open, which would keep its lock on the file.
                cursor.close()
            self.after(self._after)

        @event.listens_for(engine, "commit")
        def commit(connection: Connection) -> None:
            harm = self.before("COMMIT")
            if harm is not None:
                raw: Any = connection.connection.dbapi_connection
                raw.commit()
                self.after(harm)

    def before(self, what: str) -> Harm | None:
        """A call begins: it fails now, or the harm that comes after it is given back."""
        if not self.armed:
            return None
        if self.dead:
            raise Crash
        self.calls += 1
        harm = self.plan(self.calls, what)
        if harm is None:
            return None
        self.done.append(f"{self.calls}: {harm} {what}")
        if harm is Harm.FAIL_BEFORE:
            raise _error()
        if harm is Harm.CRASH_BEFORE:
            self.dead = True
            raise Crash
        return harm

    def after(self, harm: Harm | None) -> None:
        """A call has ended."""
        self._after = None
        if harm is Harm.FAIL_AFTER:
            raise _error()
        if harm is Harm.CRASH_AFTER:
            self.dead = True
            raise Crash


def _error() -> OperationalError:
    return OperationalError("a simulated fault", None, Exception("disk I/O error"))


@dataclass(slots=True)
class Wire:
    """Receivers behind a network that harms calls as `faults` says; `taken`: id, host, body."""

    faults: Faults
    taken: list[tuple[str, str, bytes]] = field(default_factory=list)
    calls: int = 0

    def send(
        self, prepared: Outgoing | Letter | Relayed, *, allowed: Sequence[Network] = ()
    ) -> Reply:
        """One attempt: a failed call is an answer in words, as of the real client."""
        assert isinstance(prepared, Outgoing)
        self.calls += 1
        try:
            harm = self.faults.before("HTTP")
        except OperationalError:
            # The ways in which a receiver says no, in turn.
            refusal = (Reply(error="ConnectError: refused"), Reply(500), Reply(429, "7"))
            return refusal[self.calls % len(refusal)]
        host = prepared.url.split("/")[2]
        self.taken.append((prepared.headers["webhook-id"], host, prepared.body))
        try:
            self.faults.after(harm)
        except OperationalError:
            return Reply(error="the reply was lost")
        return Reply(200)


class SteppedIngest(Ingest):
    """Writes a batch in the thread that hands it in, so that a run has one order of events."""

    def _submit(self, batch: Any, within: Any) -> Any:
        future = Ingest._submit(self, batch, within)
        self._write_group(self._next_group())
        return future
