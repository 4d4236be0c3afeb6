"""A storm of alerts through a receiver that fails three times in ten, in twelve ways.

    python -m benchmarks.trust.delivery_storm --alerts 10000
    python -m benchmarks.trust.delivery_storm --alerts 10000 --down 72h

The receiver is real sockets on loopback, the outbox a real database, the client the guarded one;
only the wall clock is simulated: it jumps to when the next delivery is due. Every alert must
arrive, under one id and one body. A duplicate is an alert that the receiver took twice.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import event

from alerts.notifiers import Letter, Outgoing, Relayed, build
from alerts.records import Message, MessageType, Outcome, Severity, message_id
from alerts.schedule import Reply
from detectors.records import Deployment, Tier
from monitor.durations import parse_duration
from monitor.outgoing.addresses import Network, parse_networks
from monitor.outgoing.delivery import Channel, Channels, deliver_due
from monitor.outgoing.outbound import GuardedClient
from monitor.outgoing.sending import Sender
from storage.engine import Database, open_database
from storage.migrations import upgrade
from storage.outbox import dead_count, delivery_log, enqueue, next_due_at, replay_dead

START = datetime(2026, 1, 1, tzinfo=UTC)
LOOPBACK = parse_networks(["127.0.0.0/8"])
SECRET = "whsec_" + "QUJD" * 8
HOST = "receiver.example"
WAYS = (
    "refuse",
    "reset mid-reply",
    "500",
    "503 Retry-After",
    "429",
    "hang",
    "drip",
    "endless reply",
    "garbage",
    "3xx",
    "TLS nonsense",
    "slow accept",
)
HEAD = re.compile(rb"webhook-id: (\S+)", re.IGNORECASE)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class HandClock:
    """Stands still until moved; durations are real, so that deadlines are."""

    instant: datetime = START

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class Receiver:
    """Takes webhooks; before each one it draws whether and how it will fail."""

    rng: random.Random
    share: float
    port: int = 0
    way: str = ""
    taken: Counter[str] = field(default_factory=Counter)
    bodies: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    ways: Counter[str] = field(default_factory=Counter)
    released: threading.Event = field(default_factory=threading.Event)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """Each attempt begins here. Nobody listens on 127.0.0.9: there it is refused."""
        self.way = self.rng.choice(WAYS) if self.rng.random() < self.share else ""
        self.ways[self.way] += 1
        return ["127.0.0.9"] if self.way == "refuse" else ["127.0.0.1"]

    def answer(self, connection: socket.socket, way: str) -> None:
        """Serve one request in this way."""
        if way == "slow accept":
            self.released.wait(5)
            return
        if way == "TLS nonsense":
            connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46" * 3)
        request = _read(connection)
        found = HEAD.search(request)
        assert found is not None
        name = found[1].decode()
        self.bodies[name].add(request.partition(b"\r\n\r\n")[2])
        match way:
            case "":
                self.taken[name] += 1
                connection.sendall(_reply("200 OK"))
            case "500":
                connection.sendall(_reply("500 Oh"))
            case "503 Retry-After":
                connection.sendall(_reply("503 Busy", "Retry-After: 7"))
            case "429":
                connection.sendall(_reply("429 Slow", "Retry-After: soon"))
            case "3xx":
                connection.sendall(_reply("307 There", "Location: http://169.254.169.254/"))
            case "garbage":
                connection.sendall(b"\x00\xffSSH-2.0\r\n\r\n")
            case "reset mid-reply":
                connection.sendall(b"HTTP/1.1 20")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "endless reply":
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    connection.sendall(b"x-more: " + b"x" * 65_536 + b"\r\n")
            case "drip":
                for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"x" * 500:
                    connection.sendall(bytes([byte]))
                    if self.released.wait(0.02):
                        return
            case "hang":
                self.released.wait(5)


def _read(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += (more := connection.recv(65_536))
        if not more:
            raise ConnectionError
    length = LENGTH.search(data)
    wanted = data.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
    while len(data) < wanted:
        data += (more := connection.recv(65_536))
        if not more:
            raise ConnectionError
    return data


def _reply(status: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 2", "Connection: close", "", "ok"]
    return "\r\n".join(lines).encode()


@contextlib.contextmanager
def receiving(seed: int, share: float) -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1, a thread a connection."""
    receiver = Receiver(random.Random(seed), share)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        receiver.port = server.getsockname()[1]
        ended = threading.Event()

        def serve(connection: socket.socket, way: str) -> None:
            with connection, contextlib.suppress(OSError):
                receiver.answer(connection, way)

        def accept() -> None:
            while not ended.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection, receiver.way), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            ended.set()
            receiver.released.set()
            # Wakes the accept.
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", receiver.port), timeout=1).close()
            thread.join(5)


@dataclass
class Down:
    """A client whose receiver is away until an instant; then it takes everything."""

    clock: HandClock
    until: datetime
    taken: Counter[str] = field(default_factory=Counter)
    attempts: int = 0

    def send(
        self, prepared: Outgoing | Letter | Relayed, *, allowed: Sequence[Network] = ()
    ) -> Reply:
        self.attempts += 1
        assert isinstance(prepared, Outgoing)
        if self.clock.now() < self.until:
            return Reply(error="ConnectError: connection refused")
        self.taken[prepared.headers["webhook-id"]] += 1
        return Reply(200)


@dataclass(frozen=True)
class Storm:
    """What came of it."""

    alerts: int
    delivered: int
    duplicates: int
    attempts: int
    dead_before_replay: int
    dead: int
    bodies: int
    simulated: timedelta
    real_s: float
    ways: Counter[str] = field(default_factory=Counter)
    median_h: float = 0.0

    def problems(self) -> list[str]:
        """What is not as promised."""
        wrong = []
        if self.delivered != self.alerts:
            wrong.append(f"{self.alerts - self.delivered} alerts never arrived")
        if self.dead:
            wrong.append(f"{self.dead} dead letters are left")
        if self.bodies > 1:
            wrong.append("an alert was sent with two bodies under one id")
        if self.duplicates > self.alerts / 100:
            wrong.append(f"{self.duplicates} duplicates, more than 1 %")
        return wrong


def storm_database(url: str) -> Database:
    """A database with our tables; SQLite does not wait for the disk, as no plug is pulled here."""
    database = open_database(url)
    if database.is_sqlite:

        @event.listens_for(database.writer, "connect")
        def hurry(connection: Any, _: object) -> None:
            connection.execute("PRAGMA synchronous = OFF")

        database.writer.dispose()
    upgrade(database)
    return database


def messages(count: int) -> Iterator[Message]:
    """Alerts as they are enqueued by checks, each of its own incident."""
    for number in range(count):
        incident = f"inc_{number:024x}"
        kind = MessageType.OPENED
        body = {
            "type": kind.value,
            "timestamp": "2026-01-01T00:00:00Z",
            "data": {"id": incident, "headline": f"m/d{number}: concept shift", "sequence": 1},
        }
        yield Message(
            id=message_id(incident, kind, 1),
            type=kind,
            deployment=Deployment("m", f"d{number}"),
            incident_id=incident,
            tier=Tier.PAGE,
            severity=Severity.HIGH,
            body=body,
            created_at=START + timedelta(microseconds=number),
        )


def put(database: Database, count: int) -> list[str]:
    """Enqueue the alerts; their ids."""
    ids = []
    with database.write() as session:
        for message in messages(count):
            enqueue(session, message, ["ops"], START)
            ids.append(message.id)
    return ids


def run_storm(
    database: Database, alerts: int, *, seed: int = 0, share: float = 0.3, deadline_s: float = 0.25
) -> Storm:
    """Deliver `alerts` through the failing receiver, dead letters replayed once at the end."""
    began = time.monotonic()
    clock = HandClock()
    ids = put(database, alerts)
    with receiving(seed, share) as receiver:
        url = f"http://{HOST}:{receiver.port}/hook"
        webhook = build("webhook", "ops", {"url": url, "secret": SECRET})
        channels = Channels({"ops": Channel(webhook, LOOPBACK)})
        client = Sender(
            GuardedClient(
                clock,
                deadline_s=deadline_s,
                resolve=receiver.resolve,
                ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            )
        )
        attempts, dead = _until_quiet(database, channels, client, clock)
    return _result(database, ids, receiver.taken, attempts, dead, clock, began, receiver)


def run_down(database: Database, alerts: int, away: timedelta) -> Storm:
    """Deliver `alerts` to a receiver that is away for `away` of simulated time."""
    began = time.monotonic()
    clock = HandClock()
    ids = put(database, alerts)
    url = f"http://{HOST}/hook"
    webhook = build("webhook", "ops", {"url": url, "secret": SECRET})
    channels = Channels({"ops": Channel(webhook, LOOPBACK)})
    client = Down(clock, START + away)
    attempts, dead = _until_quiet(database, channels, client, clock, not_before=START + away)
    return _result(database, ids, client.taken, attempts, dead, clock, began, None)


def _until_quiet(
    database: Database,
    channels: Channels,
    client: Sender | Down,
    clock: HandClock,
    not_before: datetime = START,
) -> tuple[int, int]:
    """Deliver, jump to when the next is due; at the end replay what died. (attempts, dead)."""
    attempts, dead = 0, 0
    for last in (False, True):
        while True:
            done = deliver_due(database, channels, client=client, clock=clock, limit=10_000)
            attempts += done.attempts
            with database.read() as session:
                due = next_due_at(session)
            if due is None:
                break
            clock.instant = max(clock.instant, due)
        clock.instant = max(clock.instant, not_before)
        if not last:
            with database.read() as session:
                dead = dead_count(session)
            with database.write() as session:
                replay_dead(session, clock.now())
    return attempts, dead


def _result(
    database: Database,
    ids: list[str],
    taken: Counter[str],
    attempts: int,
    dead_before: int,
    clock: HandClock,
    began: float,
    receiver: Receiver | None,
) -> Storm:
    waits_h = []
    with database.read() as session:
        dead = dead_count(session)
        for name in ids[:: max(1, len(ids) // 500)]:
            log = delivery_log(session, name)
            assert [line.outcome for line in log][-1] in {Outcome.DELIVERED, Outcome.DEAD}
            waits_h.append((log[-1].at - START) / timedelta(hours=1))
    return Storm(
        alerts=len(ids),
        delivered=len(set(ids) & set(taken)),
        duplicates=sum(count - 1 for count in taken.values()),
        attempts=attempts,
        dead_before_replay=dead_before,
        dead=dead,
        bodies=1 if receiver is None else max(map(len, receiver.bodies.values()), default=0),
        simulated=clock.now() - START,
        real_s=time.monotonic() - began,
        ways=Counter() if receiver is None else receiver.ways,
        median_h=sorted(waits_h)[len(waits_h) // 2],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--alerts", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deadline", type=float, default=0.25, help="seconds an attempt may take")
    parser.add_argument("--down", metavar="DURATION", help="instead: a receiver that is away")
    parser.add_argument("--database", help="a database URL instead of a new SQLite file")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as folder:
        database = storm_database(given.database or f"sqlite:///{Path(folder) / 'storm.db'}")
        if given.down:
            away = timedelta(microseconds=parse_duration(given.down, what="--down"))
            storm = run_down(database, given.alerts, away)
        else:
            storm = run_storm(database, given.alerts, seed=given.seed, deadline_s=given.deadline)
        database.close()
    rows = (
        ("alerts", f"{storm.alerts:,}"),
        ("arrived", f"{storm.delivered:,}"),
        ("duplicates", f"{storm.duplicates:,}"),
        ("attempts", f"{storm.attempts:,}"),
        ("dead before a replay", f"{storm.dead_before_replay:,}"),
        ("dead at the end", f"{storm.dead:,}"),
        ("simulated time", str(storm.simulated).split(".")[0]),
        ("half had arrived after", f"{storm.median_h:.2f} h"),
        ("real time", f"{storm.real_s:.0f} s"),
    )
    for what, value in rows:
        print(f"{what:24}{value:>16}")
    for way in WAYS:
        if storm.ways[way]:
            print(f"  failed: {way:16}{storm.ways[way]:>14,}")
    problems = storm.problems()
    print("\n".join(problems) if problems else "every alert arrived")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
