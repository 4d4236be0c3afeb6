"""One run of a simulation: the disk, the network and the clock, which outlive every process.

What a client, a source and the service's own jobs do, each under the faults that the seed draws;
and what must hold of it all at the end.
"""

from __future__ import annotations

import functools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import LRUCache

from alerts.notifiers import build
from alerts.records import IncidentKind
from benchmarks.trust.faulty import Crash, Faults, SteppedIngest, Wire
from benchmarks.trust.stories import (
    CHANNELS,
    MODEL,
    PAST,
    SECRET,
    Alarm,
    SimulatedClock,
    Story,
    configuration,
)
from detectors.records import DAY_US, Deployment, Task, to_datetime
from monitor.api.decode_arrow import decode_arrow_events, decode_arrow_labels
from monitor.api.limits import IngestLimits
from monitor.intake.batches import EventBatch, LabelBatch
from monitor.outgoing.delivery import Channel, Channels, deliver_due
from monitor.process import daemon
from monitor.process.daemon import Service
from monitor.sources.base import Portion
from monitor.sources.pull import pull_once
from storage.engine import Database
from storage.findings import list_findings
from storage.inbox import read_model
from storage.incidents import list_incidents
from storage.outbox import dead_count, next_due_at, replay_dead
from storage.tables import DeliveryRow, IncidentRow, MessageRow
from tests.end_to_end.histories import START_US

_COMPILED: Any = LRUCache(1_000)
_DIALECTS: dict[bool, Any] = {}


@dataclass(slots=True)
class Feed:
    """A source to pull from: tables in a list, the position is how many were read."""

    tables: list[pa.Table] = field(default_factory=list)

    def read(self, position: Any, now: datetime) -> Iterator[Portion]:
        """What has come since."""
        for number in range(position or 0, len(self.tables)):
            yield Portion(self.tables[number], number + 1, f"table {number}")


@dataclass(slots=True, eq=False)
class World:
    """One run without people."""

    story: Story
    path: Path
    rng: random.Random
    faults: Faults
    clock: SimulatedClock = field(default_factory=lambda: SimulatedClock(to_datetime(START_US)))
    feed: Feed = field(default_factory=Feed)
    acknowledged: set[float] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    wire: Wire = field(init=False)
    channels: Channels = field(init=False)
    prunable: frozenset[float] = frozenset()
    peopled: ClassVar[bool] = False
    _service: Service | None = None
    _opened: list[Database] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wire = Wire(self.faults)
        self.channels = Channels(
            {
                name: Channel(
                    build("webhook", name, {"url": f"https://{name}.example/", "secret": SECRET})
                )
                for name in CHANNELS
            }
        )

    def service(self) -> Service:
        """The process that runs, or a new one."""
        while self._service is None:
            with quick(self._adopt):
                config = configuration(self.path, peopled=self.peopled)
                service = Service(config, self.clock)
            service._dirty.add(MODEL)  # as `start` does
            self._service = service
            gone = self.acknowledged - self.stored() - self.prunable
            assert not gone, "acknowledged rows are gone"
        return self._service

    def _adopt(self, database: Database) -> None:
        self._opened.append(database)
        self.faults.watch(database)
        for engine in (database.writer, database.reader):
            # Statements are compiled once, not once a life: the cache is kept by dialect.
            engine._compiled_cache = _COMPILED
            engine.dialect = _DIALECTS.setdefault(engine is database.writer, engine.dialect)

    def attempt(self, deed: Callable[[], Any]) -> bool:
        """Do it; False if it failed or the process died of it. Time passes."""
        self.clock.instant += timedelta(seconds=self.rng.uniform(0, 20))
        self.counts["deeds"] += 1
        try:
            deed()
        except SQLAlchemyError:
            self.counts["failed"] += 1
            return False
        except Crash:
            self.counts["crashes"] += 1
            self._bury()
            return False
        return True

    def _bury(self) -> None:
        """Forget the process; the disk keeps what was committed."""
        self.faults.armed = False
        for database in self._opened:
            database.close()
        self._opened.clear()
        self._service = None
        self.faults.dead = False
        self.faults.armed = True
        self.clock.instant += timedelta(seconds=self.rng.uniform(0, 300))

    def insist(self, deed: Callable[[], Any]) -> None:
        """As a client does: again and again, with other things happening meanwhile."""
        while not self.attempt(deed):
            self.meanwhile()

    def meanwhile(self) -> None:
        """What the service may do of itself at any time, in any order."""
        for deed in self.rng.sample(self.jobs(), len(self.jobs())):
            if self.rng.random() < 0.4:
                self.attempt(deed)

    def jobs(self) -> tuple[Callable[[], None], ...]:
        """What runs by itself."""
        return (self.check, self.deliver, self.tend)

    # ---- deeds

    def check(self) -> None:
        self.service().check_due()

    def tend(self) -> None:
        self.service().tend()

    def deliver(self) -> None:
        deliver_due(
            self.service().database, self.channels, client=self.wire, clock=self.clock, limit=8
        )

    def push(self, table: pa.Table) -> None:
        """Post events; once answered, they are promised."""
        service = self.service()
        batch = _decoded(self.story, service, table, _events)
        receipt = service.ingest.submit_events(batch).result()
        assert receipt.accepted + receipt.duplicate == table.num_rows, receipt
        self.acknowledged.update(table.column("age").to_pylist())

    def label(self, table: pa.Table) -> None:
        service = self.service()
        batch = _decoded(self.story, service, table, _labels)
        receipt = service.ingest.submit_labels(batch).result()
        assert receipt.accepted + receipt.duplicate == table.num_rows, receipt

    def pull(self) -> None:
        """Read the feed up to its end."""
        service = self.service()
        pull_once(
            "feed",
            self.feed,
            model=MODEL,
            labels=False,
            ingest=service.ingest,
            schemas=service.schemas,
            database=service.database,
            clock=self.clock,
        )
        for table in self.feed.tables:
            self.acknowledged.update(table.column("age").to_pylist())

    def stored(self) -> set[float]:
        """Every stored row, by a value that no two rows share."""
        armed, self.faults.armed = self.faults.armed, False
        with self.service().database.read() as session:
            windows = read_model(session, MODEL, 0, 2**62, include_late=True)
        self.faults.armed = armed
        values = [float(v) for window in windows.values() for v in window.numeric["age"]]
        assert len(values) == len(set(values)), "a row is stored twice"
        return set(values)

    def events(self, tables: list[pa.Table], *, pulled: bool) -> None:
        """Hand events in: in any order within a day, a fifth of them twice."""
        again = [table for table in tables if self.rng.random() < 0.2]
        tables = [*tables, *again]
        self.rng.shuffle(tables)
        for table in tables:
            if pulled:
                self.feed.tables.append(table)
            else:
                self.insist(functools.partial(self.push, table))
            if self.rng.random() < 0.2:
                self.meanwhile()
        if pulled:
            self.insist(self.pull)

    def live(self) -> None:
        """The whole story, then an end without faults."""
        pulled = self.rng.random() < 0.5
        self.faults.armed = True
        for number, (pieces, labels) in enumerate(self.story.days):
            now = to_datetime(START_US + (PAST + number + 1) * DAY_US)
            self.clock.instant = max(self.clock.instant, now)
            self.events(list(pieces), pulled=pulled)
            if number == 2:
                # Older than the lateness: kept for reports, and no evidence.
                self.events([self.story.late], pulled=pulled)
            if labels.num_rows:
                self.insist(functools.partial(self.label, labels))
            if self.rng.random() < 0.6:
                self.attempt(self.check)
            if self.rng.random() < 0.6:
                self.attempt(self.deliver)
            self.evening()
        self.faults.armed = False
        self.service().flush(MODEL)
        self.aftermath()
        self.settle()

    def evening(self) -> None:
        """What people do of a day."""

    def aftermath(self) -> None:
        """What people do once everything has been judged."""

    def settle(self) -> None:
        """Deliver until nothing is due; what was given up is replayed once."""
        database = self.service().database
        for last in (False, True):
            while True:
                deliver_due(database, self.channels, client=self.wire, clock=self.clock)
                with database.read() as session:
                    due = next_due_at(session)
                if due is None:
                    break
                # A claim of a process that died runs out after its lease.
                self.clock.instant = max(self.clock.instant + timedelta(seconds=30), due)
            if not last:
                with database.write() as session:
                    replay_dead(session, self.clock.now())

    # ---- what must hold

    def problems(self, names: frozenset[str] | None) -> list[str]:
        """What is not as promised. `names`: the message ids of a run without faults."""
        wrong = self._wrong_rows()
        alarms, incidents, messages, wanted = self.told()
        if len(alarms) != len(set(alarms)) or set(alarms) != self.story.alarms:
            wrong.append(f"{len(alarms)} alarms instead of {len(self.story.alarms)}")
        wrong += self._wrong_work(incidents, messages, names)
        with self.service().database.read() as session:
            if dead := dead_count(session):
                wrong.append(f"{dead} messages were given up")
        if self.sent() != wanted:
            wrong.append("the receiver has not got every message, or more than there are")
        bodies, owners = defaultdict(set), defaultdict(set)
        for name, _host, body in self.wire.taken:
            bodies[name].add(body)
            owners[body].add(name)
        if any(len(seen) > 1 for seen in bodies.values()):
            wrong.append("one id with two bodies")
        if any(len(seen) > 1 for seen in owners.values()):
            wrong.append("one body under two ids")
        return wrong

    def _wrong_rows(self) -> list[str]:
        stored, wrong = self.stored(), []
        if stored != self.story.values:
            wrong.append(f"{len(stored)} rows are stored, {len(self.story.values)} were sent")
        if not self.acknowledged <= stored:
            wrong.append("acknowledged rows are missing")
        return wrong

    def _wrong_work(
        self,
        incidents: frozenset[Any],
        messages: tuple[Any, ...],
        names: frozenset[str] | None,
    ) -> list[str]:
        """Without people incidents are a replay's, and each change of one has one message."""
        wrong = []
        if incidents != self.story.incidents:
            wrong.append("other incidents than a replay has")
        if len({message[1:] for message in messages}) != len(messages):
            wrong.append("a change of an incident has two messages")
        ids = {message[0] for message in messages}
        # When domains are grouped depends on which check came through first.
        alone = len(self.story.domains) == 1
        if names is not None and (ids != names if alone else not names <= ids):
            wrong.append(f"other messages than without faults: {sorted(ids ^ names)}")
        return wrong

    def told(self) -> tuple[tuple[Alarm, ...], frozenset[Any], tuple[Any, ...], frozenset[Any]]:
        """Alarms, incidents, messages, and what is to go to which channel, as stored."""
        message = (MessageRow.id, MessageRow.incident_id, MessageRow.type, MessageRow.created_at)
        with self.service().database.read() as session:
            found = [
                (domain, f.ts.isoformat(), f.stream, f.kind, f.tier.value)
                for domain in self.story.domains
                for f in list_findings(session, Deployment(MODEL, domain), limit=10_000)
            ]
            incidents = list_incidents(
                session, model=MODEL, kinds=[IncidentKind.DRIFT], limit=1_000
            )
            messages = session.execute(select(*message).order_by(MessageRow.id)).all()
            wanted = session.execute(select(DeliveryRow.message_id, DeliveryRow.channel)).all()
        return (
            tuple(found),
            frozenset((i.id, i.mode, i.state, i.alarms) for i in incidents),
            tuple(tuple(row) for row in messages),
            frozenset((row[0], row[1]) for row in wanted),
        )

    def own_messages(self) -> frozenset[str]:
        """The ids of messages about incidents of evidence, whichever way they went."""
        query = (
            select(MessageRow.id)
            .join(IncidentRow, IncidentRow.id == MessageRow.incident_id)
            .where(IncidentRow.kind == IncidentKind.DRIFT.value)
        )
        with self.service().database.read() as session:
            return frozenset(session.scalars(query))

    def labels(self) -> tuple[float, ...]:
        """How many labels have found their rows, and how many are 1."""
        with self.service().database.read() as session:
            windows = read_model(session, MODEL, 0, 2**62, include_late=True).values()
        found = [window.label for window in windows if window.label is not None]
        known = np.concatenate(found) if found else np.empty(0)
        return float(np.isfinite(known).sum()), float(np.nansum(known))

    def sent(self) -> frozenset[tuple[str, str]]:
        """What the receivers took: webhook-id and channel."""
        return frozenset((name, host.split(".")[0]) for name, host, _ in self.wire.taken)

    def close(self) -> None:
        """The end of this world's last process."""
        self._bury()


@functools.cache
def _limits() -> IngestLimits:
    return IngestLimits()


_DECODED: dict[tuple[int, str], Any] = {}


def _decoded(story: Story, service: Service, table: pa.Table, decode: Callable[..., Any]) -> Any:
    """Decoding is pure: once a table."""
    key = (id(table), decode.__name__)
    if key not in _DECODED:
        _DECODED[key] = (decode(service, table), table, story)
    return _DECODED[key][0]


def _events(service: Service, table: pa.Table) -> EventBatch:
    schema = service.schemas.schema_of(MODEL)
    assert schema is not None
    return decode_arrow_events(
        table,
        model=MODEL,
        schema=schema,
        now_us=START_US + 400 * DAY_US,
        limits=_limits(),
    )


def _labels(service: Service, table: pa.Table) -> LabelBatch:
    return decode_arrow_labels(
        table, model=MODEL, task=Task.BINARY, now_us=START_US + 400 * DAY_US, limits=_limits()
    )


@contextmanager
def quick(upgrade: Callable[[Database], object]) -> Iterator[None]:
    """A service that opens its file so, and writes rows in the thread that brings them."""
    genuine = {name: vars(daemon)[name] for name in ("Ingest", "upgrade")}
    vars(daemon).update(Ingest=SteppedIngest, upgrade=upgrade)
    try:
        yield
    finally:
        vars(daemon).update(genuine)
