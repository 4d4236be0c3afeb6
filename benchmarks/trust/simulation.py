"""The whole of Kedge in one thread, with faults at every database and HTTP call, from a seed.

    python -m benchmarks.trust.simulation --seeds 10000
    python -m benchmarks.trust.simulation --seed 4711        # one of them again, told in full

A sender posts a few days of events and labels, shuffled, partly twice and partly far too late,
until each batch is acknowledged; half of the seeds let the service pull its events instead. In
between the service checks, delivers and tends in an order that the seed draws. Any statement,
commit or request may fail before or after its effect, or be the last thing the process does: then
its memory is dropped and a new one opens the same SQLite file. The clock is a variable, the network
a list.

After each seed: what was acknowledged is stored, exactly once; alarms and incidents are those of
`kedge replay` over the same rows; each change of an incident has one message, under the id it has
in a run without faults; every message arrived, none with two bodies, and no body under two ids.

Opening a reference and diagnosing are remembered across seeds by all that goes into them: they are
pure, and not what is on trial here.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import LRUCache

from alerts.notifiers import build
from benchmarks.trust.faulty import Crash, Faults, Harm, SteppedIngest, Wire
from detectors.records import DAY_US, Deployment, Task, to_datetime
from monitor.api.decode_arrow import decode_arrow_events, decode_arrow_labels
from monitor.api.limits import IngestLimits
from monitor.config import Config, parse_config
from monitor.files.references import add_reference_table
from monitor.files.tables import Table, to_table
from monitor.intake.batches import EventBatch, LabelBatch
from monitor.outgoing.delivery import Channel, Channels, deliver_due
from monitor.process import daemon
from monitor.process.daemon import Service
from monitor.replaying.replay import replay
from monitor.sources.base import Portion
from monitor.sources.pull import pull_once
from monitor.watching import judgement, runner
from storage.engine import Database
from storage.findings import list_findings
from storage.inbox import read_model
from storage.incidents import list_incidents
from storage.migrations import upgrade
from storage.outbox import dead_count, next_due_at, replay_dead
from storage.references import Role
from storage.tables import DeliveryRow, MessageRow
from tests.end_to_end.histories import ROLES, START_US, history, part

MODEL, DOMAIN = "churn", "north"
PAST, LIVE = 20, 4
CHANNELS = ("ops", "desk")
SECRET = "whsec_" + "QUJD" * 8
MOST_FAULTS = 12
TROUBLES = ("nothing", "null", "cents", "both")
RATES = (0.0, 0.002, 0.005, 0.01, 0.03)

_COMPILED: Any = LRUCache(1_000)

Alarm = tuple[str, str, str, str]


@dataclass(slots=True)
class SimulatedClock:
    """Stands still until it is moved; seconds of work take none."""

    instant: datetime

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()


@dataclass(frozen=True, slots=True, eq=False)
class Story:
    """What happens, whatever the faults: the rows, and what must come of them."""

    trouble: str
    template: Path
    days: tuple[tuple[tuple[pa.Table, ...], pa.Table], ...]
    late: pa.Table
    values: frozenset[float]
    alarms: frozenset[Alarm]
    incidents: frozenset[tuple[Any, ...]]


@functools.cache
def configuration(database: Path) -> Config:
    """A daily tick, labels a day behind."""
    model = {"tick": "1d", "label_delay": "1d", "lateness": "1d", "baseline": {"kind": "none"}}
    service = {"database": f"sqlite:///{database}"}
    channels = [
        {
            "name": name,
            "kind": "webhook",
            "url": f"https://{name}.example/",
            "secret_env": "KEDGE_SIMULATED_SECRET",
        }
        for name in CHANNELS
    ]
    raw = {"service": service, "models": {MODEL: model}, "channels": channels}
    return parse_config(raw, source="simulation")


def tell(home: Path, trouble: str) -> Story:
    """A story and what `kedge replay` makes of it; its database before the first row."""
    past = history(days=PAST, rows_a_day=40, seed=1)
    log = history(
        days=LIVE,
        rows_a_day=40,
        seed=2,
        first_day=PAST,
    )
    past, log = (_of_domain(table) for table in (past, log))
    hurt = log.column("ts").cast(pa.int64()).to_numpy() // DAY_US - START_US // DAY_US - PAST
    spend = log.column("spend").to_numpy(zero_copy_only=False).astype(float)
    if trouble in {"null", "both"}:
        spend = np.where(hurt == 1, np.nan, spend)
    if trouble in {"cents", "both"}:
        spend = np.where(hurt >= 2, 100 * spend, spend)
    index = log.column_names.index("spend")
    log = log.set_column(index, "spend", pa.array(spend, from_pandas=True))
    if trouble == "null":
        index = log.column_names.index("plan")
        plan = log.column("plan").to_numpy(zero_copy_only=False)
        log = log.set_column(index, "plan", pa.array(np.where(hurt >= 2, None, plan), pa.string()))
    database = home / f"{trouble}.db"
    clock = SimulatedClock(to_datetime(START_US + PAST * DAY_US))
    with _quick(upgrade):
        service = Service(configuration(database), clock)
        add_reference_table(
            service.database,
            _table(past),
            model=MODEL,
            role=Role.ONBOARDING,
            domain=None,
            slices=(),
            now=clock.now(),
        )
        settings = replace(service.settings_of(MODEL), review_us=None)
        service.database.close()
    reference = _table(past)
    result = replay(reference, _table(log, like=reference), settings, model=MODEL)
    domain = result.domains[0]
    days = []
    for day in range(PAST, PAST + LIVE + 1):
        since_us = START_US + day * DAY_US
        events = part(log, since_us=since_us, until_us=since_us + DAY_US)
        cut = [events.slice(n, 20) for n in range(0, events.num_rows, 20)]
        moments = log.column("label_ts").cast(pa.int64()).to_numpy()
        known = log.filter(pa.array((moments >= since_us) & (moments < since_us + DAY_US)))
        labels = {"id": "id", "label": "label", "ts": "label_ts"}
        days.append(
            (
                tuple(piece.drop_columns(["label", "label_ts"]) for piece in cut),
                pa.table({new: known.column(old) for new, old in labels.items()}),
            )
        )
    early = _of_domain(history(days=1, rows_a_day=8, seed=3, first_day=PAST - 3))
    rows = [*log.column("age").to_pylist(), *early.column("age").to_pylist()]
    return Story(
        trouble=trouble,
        template=database,
        days=tuple(days),
        late=early.drop_columns(["label", "label_ts"]),
        values=frozenset(rows),
        alarms=frozenset((f.ts.isoformat(), f.stream, f.kind, f.tier) for f in domain.findings),
        incidents=frozenset((i.id, i.mode, i.state, i.alarms) for i in domain.incidents),
    )


def _table(arrow: pa.Table, *, like: Table | None = None) -> Table:
    return to_table(
        arrow.drop_columns(["id"]),
        replace(ROLES, id=None, baseline_score=None, slices=()),
        like=like,
    )


def _of_domain(table: pa.Table) -> pa.Table:
    chosen = pa.array([name == DOMAIN for name in table.column("domain").to_pylist()])
    return table.filter(chosen).drop_columns(["baseline_score"])


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
    """One run: the disk, the network and the clock outlive every process."""

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
            with _quick(self._adopt):
                service = Service(configuration(self.path), self.clock)
            service._dirty.add(MODEL)  # as `start` does
            self._service = service
            assert self.stored() >= self.acknowledged, "acknowledged rows are gone"
        return self._service

    def _adopt(self, database: Database) -> None:
        self._opened.append(database)
        self.faults.watch(database)
        for engine in (database.writer, database.reader):
            engine._compiled_cache = _COMPILED  # compiled once, not once a life

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
        for deed in self.rng.sample((self.check, self.deliver, self.tend), 3):
            if self.rng.random() < 0.4:
                self.attempt(deed)

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
        self.faults.armed = False
        self.service().flush(MODEL)
        self.settle()

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
        wrong = []
        stored = self.stored()
        if stored != self.story.values:
            wrong.append(f"{len(stored)} rows are stored, {len(self.story.values)} were sent")
        if not self.acknowledged <= stored:
            wrong.append("acknowledged rows are missing")
        alarms, incidents, messages, wanted = self.told()
        if len(alarms) != len(set(alarms)) or set(alarms) != self.story.alarms:
            wrong.append(f"{len(alarms)} alarms instead of {len(self.story.alarms)}")
        if incidents != self.story.incidents:
            wrong.append("other incidents than a replay has")
        if len({message[1:] for message in messages}) != len(messages):
            wrong.append("a change of an incident has two messages")
        ids = {message[0] for message in messages}
        if names is not None and ids != names:
            wrong.append(f"other messages than without faults: {sorted(ids ^ names)}")
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

    def told(self) -> tuple[tuple[Alarm, ...], frozenset[Any], tuple[Any, ...], frozenset[Any]]:
        """Alarms, incidents, messages, and what is to go to which channel, as stored."""
        message = (MessageRow.id, MessageRow.incident_id, MessageRow.type, MessageRow.created_at)
        with self.service().database.read() as session:
            found = list_findings(session, Deployment(MODEL, DOMAIN), limit=10_000)
            incidents = list_incidents(session, model=MODEL, limit=1_000)
            messages = session.execute(select(*message).order_by(MessageRow.id)).all()
            wanted = session.execute(select(DeliveryRow.message_id, DeliveryRow.channel)).all()
        return (
            tuple((f.ts.isoformat(), f.stream, f.kind, f.tier.value) for f in found),
            frozenset((i.id, i.mode, i.state, i.alarms) for i in incidents),
            tuple(tuple(row) for row in messages),
            frozenset((row[0], row[1]) for row in wanted),
        )

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


_REMEMBERED: dict[bytes, Any] = {}


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, asked once for the same arguments."""

    @functools.wraps(function)
    def asked(*given: Any, **named: Any) -> Any:
        key = hashlib.sha256(pickle.dumps((function.__name__, given, sorted(named.items()))))
        if key.digest() not in _REMEMBERED:
            _REMEMBERED[key.digest()] = function(*given, **named)
        return _REMEMBERED[key.digest()]

    return asked


@contextmanager
def _quick(upgrade: Callable[[Database], object]) -> Iterator[None]:
    """A service that opens its file so, and writes rows in the thread that brings them."""
    genuine = {name: vars(daemon)[name] for name in ("Ingest", "upgrade")}
    vars(daemon).update(Ingest=SteppedIngest, upgrade=upgrade)
    try:
        yield
    finally:
        vars(daemon).update(genuine)


@dataclass(slots=True)
class Simulation:
    """Many seeds, one after the other. `home` should be in memory."""

    home: Path
    stories: dict[str, Story] = field(default_factory=dict)
    names: dict[str, frozenset[str]] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)

    def story(self, trouble: str) -> Story:
        if trouble not in self.stories:
            self.stories[trouble] = tell(self.home, trouble)
            # Without faults once: the messages there must be.
            world = self.world(self.stories[trouble], random.Random(0), Faults())
            world.live()
            problems = world.problems(None)
            assert not problems, (trouble, problems)
            self.names[trouble] = frozenset(name for name, *_ in world.wire.taken)
            world.close()
        return self.stories[trouble]

    def run(self, seed: int, *, told: bool = False) -> list[str]:
        """One seed; what is not as promised."""
        rng = random.Random(seed)
        story = self.story(rng.choice(TROUBLES))
        rate = rng.choice(RATES)
        left = [MOST_FAULTS]

        def plan(_number: int, what: str) -> Harm | None:
            if left[0] == 0 or rng.random() >= (10 * rate if what == "HTTP" else rate):
                return None
            left[0] -= 1
            return rng.choice(tuple(Harm))

        faults = Faults(plan)
        world = self.world(story, rng, faults)
        world.live()
        problems = world.problems(self.names[story.trouble])
        if told:
            print(f"story {story.trouble}, rate {rate}, {dict(world.counts)}")
            print("\n".join(faults.done))
        self.totals.update(world.counts)
        self.totals["faults"] += len(faults.done)
        self.totals["calls"] += faults.calls
        self.totals["messages"] += len({name for name, *_ in world.wire.taken})
        self.totals["sent"] += len(world.wire.taken)
        world.close()
        return problems

    def world(self, story: Story, rng: random.Random, faults: Faults) -> World:
        """A world before the first row."""
        path = self.home / "run.db"
        for old in self.home.glob("run.db*"):
            old.unlink()
        shutil.copy(story.template, path)
        return World(story, path, rng, faults)


@contextmanager
def simulation() -> Iterator[Simulation]:
    """A simulation in memory, with what is pure remembered."""
    os.environ["KEDGE_SIMULATED_SECRET"] = SECRET
    shared = Path("/dev/shm")
    pure: tuple[tuple[Any, str], ...] = ((runner, "open_watch"), (judgement, "diagnose"))
    genuine = {name: getattr(module, name) for module, name in pure}
    for module, name in pure:
        setattr(module, name, _remembering(genuine[name]))
    try:
        with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
            yield Simulation(Path(folder))
    finally:
        for module, name in pure:
            setattr(module, name, genuine[name])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone, with its faults")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    began, wrong = time.monotonic(), 0
    with simulation() as simulated:
        chosen = range(given.first, given.first + given.seeds)
        for seed in chosen if given.seed is None else [given.seed]:
            try:
                problems = simulated.run(seed, told=given.seed is not None)
            except Exception as error:
                if given.seed is not None:
                    raise
                problems = [f"{type(error).__name__}: {error}"]
            wrong += bool(problems)
            for problem in problems:
                print(f"seed {seed}: {problem}", flush=True)
            done = seed - given.first + 1
            if given.seed is None and done % 500 == 0:
                print(
                    f"{done:,} seeds, {wrong} wrong, {time.monotonic() - began:.0f} s", flush=True
                )
    t = simulated.totals
    print("| seeds | calls | faults | crashes | failed deeds | messages | sent | wrong | s |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {1 if given.seed is not None else given.seeds:,} | {t['calls']:,} | {t['faults']:,} "
        f"| {t['crashes']:,} | {t['failed']:,} | {t['messages']:,} | {t['sent']:,} "
        f"| {wrong} | {time.monotonic() - began:.0f} |"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
